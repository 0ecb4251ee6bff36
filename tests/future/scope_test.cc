// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/scope.h>.
#include <eddy/future/scope.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <source_location>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/await_trace.h>
#include <eddy/future/block_on.h>
#include <eddy/future/promise.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/timeout.h>
#include <eddy/future/until.h>
#include <eddy/future/yield.h>

#include "support/async_test.h"
#include "support/at_end.h"
#include "support/counted.h"
#include "support/delayed.h"
#include "support/error_words.h"
#include "support/forked.h"
#include "support/journal.h"
#include "support/socket_pair.h"

using namespace std::chrono_literals;

// The size of a spawned task's record.
static_assert(sizeof(eddy::detail::scope_child) <= 56);

namespace {

eddy::task<> hold(at_end) { co_await eddy::sleep(1h); }

eddy::task<std::string> error_of_join(eddy::scope* s) {
  const std::string what = co_await error_of(eddy::detail::as_task(s->join()));
  co_return what;
}

}  // namespace

ASYNC_TEST("join waits for all children, which run concurrently") {
  journal note;
  eddy::scope s;
  s.spawn(note_after(2s, &note, "b"));
  s.spawn(note_after(1s, &note, "a"));
  CHECK(s.size() == 2);
  const auto before = clock.now();
  co_await s.join();
  CHECK(note == "a b");
  CHECK(clock.now() - before == 2s);
  CHECK(s.size() == 0);
  co_await s.join();  // completes at once
}

ASYNC_TEST("children start in the loop's next turn, in order") {
  journal note;
  auto say = [&note](std::string name) -> eddy::task<> {
    note(name);
    co_return;
  };
  eddy::scope s;
  s.spawn(say("a"));
  s.spawn(say("b"));
  note("go");
  co_await s.join();
  CHECK(note == "go a b");
}

ASYNC_TEST("a child may spawn into its scope, and join waits for the new child, too") {
  journal note;
  struct program {
    static eddy::task<> descend(eddy::scope* s, journal* note, int depth) {
      co_await eddy::yield();
      (*note)(depth);
      if (depth != 0) s->spawn(descend(s, note, depth - 1));
    }
  };
  eddy::scope s;
  s.spawn(program::descend(&s, &note, 3));
  co_await s.join();
  CHECK(note == "3 2 1 0");
}

ASYNC_TEST("join also waits for a child spawned after the join was queued") {
  journal note;
  eddy::scope s;
  s.spawn(eddy::yield());
  // `later` resumes after the last child has queued the join and before the join resumes.
  auto later = [&note](eddy::scope* into) -> eddy::task<> {
    co_await eddy::yield();
    into->spawn(note_after(1s, &note, "late"));
  };
  auto other = eddy::spawn(later(&s));
  co_await s.join();
  CHECK(note == "late");
  co_await std::move(other);
}

ASYNC_TEST("spawn moves a function, its captures and its arguments into the task") {
  int alive = 0;
  int sum = 0;
  eddy::scope s;
  {
    auto add = [held = counted(alive), &sum](std::unique_ptr<int> n) -> eddy::task<> {
      co_await eddy::yield();
      sum += *n;
    };
    s.spawn(std::move(add), std::make_unique<int>(42));
  }
  CHECK(alive == 1);
  co_await s.join();
  CHECK(sum == 42);
  CHECK(alive == 0);
}

ASYNC_TEST("destroying a scope cancels its children, the last one first") {
  journal note;
  {
    eddy::scope s;
    s.spawn(hold(at_end([&] { note("a"); })));
    s.spawn(hold(at_end([&] { note("b"); })));
    SUBCASE("before they start") {}
    SUBCASE("while they are suspended") { co_await eddy::yield(); }
  }
  CHECK(note == "b a");
  CHECK(loop.count().timers == 0);
}

ASYNC_TEST("cancelling a coroutine cancels its scope before it destroys earlier locals") {
  journal note;
  struct program {
    static eddy::task<> run(journal* note, bool join) {
      const at_end first([note] { (*note)("local"); });
      eddy::scope s;
      s.spawn(hold(at_end([note] { (*note)("child"); })));
      if (join) {
        co_await s.join();
      } else {
        co_await eddy::sleep(1h);
      }
    }
  };
  bool join = false;
  SUBCASE("while the coroutine joins the scope") { join = true; }
  SUBCASE("while the coroutine sleeps") {}
  auto f = eddy::spawn(program::run(&note, join));
  co_await eddy::sleep(1s);
  f = {};
  CHECK(note == "child local");
}

ASYNC_TEST("a child's failure cancels the siblings at once, and join throws it") {
  int alive = 0;
  journal note;
  eddy::scope s;
  s.spawn(count_until(counted(alive), 1h));
  s.spawn(fail_after(1s));
  s.spawn(hold(at_end([&] { note("cancelled"); })));
  const auto before = clock.now();
  const std::string what = co_await error_of_join(&s);
  CHECK(what == "failed");
  CHECK(clock.now() - before == 1s);
  CHECK(note == "cancelled");
  CHECK(alive == 0);
  CHECK(s.size() == 0);
}

ASYNC_TEST("a failure is kept until join; until then spawn starts no child") {
  int alive = 0;
  eddy::scope s;
  s.spawn(fail_after(1s));
  co_await eddy::sleep(2s);
  s.spawn(count_until(counted(alive), 1s));
  CHECK(s.size() == 0);
  CHECK(alive == 0);
  const std::string what = co_await error_of_join(&s);
  CHECK(what == "failed");

  // join has thrown the failure, and the scope can be used again.
  s.spawn(count_until(counted(alive), 1s));
  CHECK(s.size() == 1);
  co_await s.join();
}

TEST_CASE_FIXTURE(async_fixture,
                  "a failure that nobody took leaves run when the scope is destroyed") {
  std::optional<eddy::scope> s(std::in_place, loop);
  s->spawn(fail_after(1s));
  loop.run();
  s.reset();
  CHECK_THROWS_WITH_AS(loop.run(), "failed", std::runtime_error);
}

TEST_CASE_FIXTURE(async_fixture,
                  "the loop can be dumped while a scope with a failed child is destroyed") {
  std::string dumps;
  struct program {
    static eddy::task<> drop_and_fail(eddy::future<>* whole) {
      co_await eddy::sleep(1ms);
      *whole = {};
      throw std::runtime_error("no");
    }
    static eddy::task<> child(eddy::future<>* whole) { co_await drop_and_fail(whole); }
    static eddy::task<> dump_in_the_end(eddy::event_loop* on, std::string* to) {
      const at_end dumping([=] { *to += on->dump(); });
      co_await eddy::sleep(1h);
    }
    static eddy::task<> whole(eddy::future<>* self, eddy::event_loop* on, std::string* to) {
      eddy::scope all;
      all.spawn(child(self));
      all.spawn(dump_in_the_end(on, to));
      co_await all.join();
    }
  };
  loop.on_exception([](const std::exception_ptr&) {});
  eddy::future<> self;
  self = eddy::spawn(loop, program::whole(&self, &loop, &dumps));
  loop.run();
  CHECK(dumps.contains("ended"));
}

ASYNC_TEST("a limited scope runs so many children; the others start in the order of spawn") {
  journal note;
  int most = 0;
  int now = 0;
  struct program {
    static eddy::task<> work(int* now, int* most, journal* note, int name) {
      (*note)(name);
      *most = std::max(*most, ++*now);
      const auto time = name == 0 ? 3s : 1s;
      co_await eddy::sleep(time);
      --*now;
    }
  };
  eddy::scope s(2);
  for (int i = 0; i < 6; ++i) s.spawn(program::work(&now, &most, &note, i));
  CHECK(s.size() == 6);
  CHECK(s.waiting() == 4);
  co_await eddy::yield();
  CHECK(note == "0 1");
  co_await s.join();
  CHECK(most == 2);
  CHECK(note == "0 1 2 3 4 5");
}

ASYNC_TEST("children that wait for a permit are cancelled with the others") {
  int alive = 0;
  {
    eddy::scope s(1);
    for (int i = 0; i < 3; ++i) s.spawn(count_until(counted(alive), 1h));
    co_await eddy::yield();
    CHECK(alive == 3);
    SUBCASE("when the scope is destroyed") {}
    SUBCASE("by cancel()") {
      s.cancel();
      CHECK(alive == 0);
      CHECK(s.size() == 0);
      co_await s.join();
    }
  }
  CHECK(alive == 0);
}

ASYNC_TEST("a scope can be used again after cancel") {
  journal note;
  eddy::scope s;
  s.spawn(note_after(1s, &note, "never"));
  s.cancel();
  s.spawn(note_after(1s, &note, "again"));
  co_await s.join();
  CHECK(note == "again");
}

ASYNC_TEST("cancel completes a join") {
  eddy::scope s;
  s.spawn(eddy::sleep(1h));
  auto canceller = [&s]() -> eddy::task<> {
    co_await eddy::sleep(1s);
    s.cancel();
  };
  auto other = eddy::spawn(canceller);
  const auto before = clock.now();
  co_await s.join();
  CHECK(clock.now() - before == 1s);
  co_await std::move(other);
}

ASYNC_TEST("children spawned while the scope is being cancelled are cancelled, too") {
  int alive = 0;
  {
    eddy::scope s;
    s.spawn(hold(at_end([&] {
      s.spawn(count_until(counted(alive), 1h));
      CHECK(alive == 0);  // at once, so that no child can keep cancel from returning
    })));
    co_await eddy::yield();
    s.cancel();
    CHECK(s.size() == 0);
    CHECK(alive == 0);
    s.spawn(hold(at_end([&] { s.spawn(count_until(counted(alive), 1h)); })));
  }
  CHECK(alive == 0);
}

TEST_CASE_FIXTURE(async_fixture,
                  "a child may destroy its scope, and is destroyed at its next co_await") {
  journal note;
  struct owner {
    owner(eddy::event_loop& loop, journal* n) : note(n), tasks(loop) {
      tasks.spawn(&owner::wait, this, "sibling");
      tasks.spawn(&owner::end, this);
      tasks.spawn(&owner::wait, this, "waits for a permit");
    }
    eddy::task<> wait(const char* name) {
      const at_end gone([n = note, name] { (*n)(name); });
      co_await eddy::sleep(1h);
    }
    eddy::task<> end() {
      const at_end gone([n = note] { (*n)("gone"); });
      co_await eddy::sleep(1s);
      journal* const n = note;
      delete this;
      (*n)("still here");
      co_await eddy::sleep(1s);
      (*n)("never");
    }
    journal* note;
    eddy::scope tasks;
  };
  auto* const o = new owner(loop, &note);
  loop.run();
  static_cast<void>(o);
  CHECK(note == "waits for a permit sibling still here gone");
}

TEST_CASE_FIXTURE(async_fixture, "a child may destroy the coroutine that joins its scope") {
  journal note;
  eddy::future<> joining;
  struct program {
    static eddy::task<> end(eddy::future<>* joining, journal* note, const int* local) {
      co_await eddy::sleep(1s);
      *joining = {};
      (*note)(*local);  // the joining coroutine's locals still exist
      co_await eddy::sleep(1s);
      (*note)("never");
    }
    static eddy::task<> join(eddy::future<>* self, journal* note) {
      const int local = 42;
      const at_end gone([note] { (*note)("gone"); });
      eddy::scope s;
      s.spawn(end(self, note, &local));
      s.spawn(hold(at_end([note] { (*note)("sibling"); })));
      co_await s.join();
      (*note)("never");
    }
  };
  joining = eddy::spawn(loop, program::join(&joining, &note));
  loop.run();
  CHECK(note == "42 sibling gone");
}

TEST_CASE_FIXTURE(async_fixture, "destroying a child's locals may destroy or cancel the scope") {
  journal note;
  auto s = std::make_unique<eddy::scope>(loop);
  s->spawn(hold(at_end([&] { note("first"); })));
  SUBCASE("when the scope is cancelled") {
    s->spawn(hold(at_end([&] { s.reset(); })));
    loop.run_ready();
    s->cancel();
  }
  SUBCASE("when a sibling fails") {
    s->spawn(hold(at_end([&] {
      s->on_error(nullptr);
      loop.on_exception([&](const std::exception_ptr& e) { note(words_of(e)); });
      s.reset();
    })));
    s->spawn(fail_after(1s));
    loop.run();
    CHECK(note == "first failed");
  }
  SUBCASE("when the child completes") {
    struct program {
      static eddy::task<> end(at_end) { co_await eddy::sleep(1s); }
    };
    s->spawn(program::end(at_end([&] { s.reset(); })));
    loop.run();
  }
  SUBCASE("when the scope is destroyed") {
    s->spawn(hold(at_end([same = s.get()] { same->cancel(); })));
    loop.run_ready();
    s.reset();
  }
  CHECK(note.text().starts_with("first"));
  CHECK(s == nullptr);
}

TEST_CASE_FIXTURE(async_fixture,
                  "a child cancelled by a cancel within a cancel may destroy the scope") {
  journal note;
  auto s = std::make_unique<eddy::scope>(loop);
  s->spawn(hold(at_end([&] { note("never reached by a cancel"); })));
  s->spawn(hold(at_end([&] {
    s.reset();
    note("destroyed");
  })));
  s->spawn(hold(at_end([&] {
    s->cancel();
    note("cancelled");
  })));
  loop.run_ready();
  s->cancel();
  CHECK(note == "never reached by a cancel destroyed cancelled");
  CHECK(s == nullptr);
}

TEST_CASE_FIXTURE(async_fixture, "no memory of a scope is used after the scope is destroyed") {
  /// A scope whose memory is overwritten when it is destroyed.
  struct brittle_scope {
    explicit brittle_scope(eddy::event_loop& loop)
        : scope(std::construct_at(reinterpret_cast<eddy::scope*>(place), loop)) {}
    void destroy() {
      std::destroy_at(scope);
      std::memset(place, 0xff, sizeof place);
      gone = true;
    }
    alignas(eddy::scope) unsigned char place[sizeof(eddy::scope)];
    eddy::scope* scope;
    bool gone = false;
  };
  struct program {
    static eddy::task<> join(eddy::scope* s, bool* ended) {
      co_await s->join();
      *ended = true;
    }
    static eddy::task<> end(at_end) { co_await eddy::sleep(1s); }
  };
  brittle_scope s(loop);
  bool joined = false;
  auto joining = eddy::spawn(loop, program::join(s.scope, &joined));
  SUBCASE("during a join") {
    s.scope->spawn(hold(at_end(nullptr)));
    loop.run_ready();
    s.destroy();
  }
  SUBCASE("during a cancel") {
    s.scope->spawn(hold(at_end(nullptr)));
    s.scope->spawn(hold(at_end([&] { s.destroy(); })));
    loop.run_ready();
    s.scope->cancel();
  }
  SUBCASE("during a cancel within a cancel") {
    s.scope->spawn(hold(at_end(nullptr)));
    s.scope->spawn(hold(at_end([&] { s.destroy(); })));
    s.scope->spawn(hold(at_end([&] { s.scope->cancel(); })));
    loop.run_ready();
    s.scope->cancel();
  }
  SUBCASE("as a child completes") {
    s.scope->spawn(program::end(at_end([&] { s.destroy(); })));
    s.scope->spawn(hold(at_end(nullptr)));
    loop.run_ready();
  }
  loop.run();
  CHECK(s.gone);
  CHECK(joined);
}

ASYNC_TEST("two cancels before a join resumes complete the join once") {
  bool other = false;
  eddy::scope s;
  s.spawn(hold(at_end(nullptr)));
  auto cancel = [&]() -> eddy::task<> {
    s.cancel();
    loop.defer([&] { other = true; });
    s.cancel();
    co_return;
  };
  auto canceller = eddy::spawn(cancel);
  co_await s.join();
  co_await std::move(canceller);
  co_await eddy::sleep(1s);
  CHECK(other);
}

ASYNC_TEST("an on_error handler set before a join resumes takes the failure") {
  std::string what;
  eddy::scope s;
  s.spawn([]() -> eddy::task<> {
    co_await eddy::yield();
    throw std::runtime_error("failed");
  });
  auto give = [&]() -> eddy::task<> {
    co_await eddy::yield();
    CHECK(s.size() == 0);
    s.on_error([&](const std::exception_ptr& e) { what = words_of(e); });
  };
  auto giver = eddy::spawn(give);
  const std::string joined = co_await error_of_join(&s);
  CHECK(joined == "none");
  co_await eddy::yield();
  CHECK(what == "failed");
  co_await std::move(giver);
}

TEST_CASE_FIXTURE(async_fixture,
                  "an on_error handler removed while siblings are cancelled is not called") {
  int calls = 0;
  eddy::scope s(loop);
  s.on_error([&](const std::exception_ptr&) { ++calls; });
  s.spawn(hold(at_end([&] { s.on_error(nullptr); })));  // cancelled when its sibling fails
  s.spawn(fail_after(1s));
  loop.run();
  CHECK(s.size() == 0);
  CHECK(calls == 0);
  s.on_error([&](const std::exception_ptr& e) {
    CHECK(words_of(e) == "failed");
    ++calls;
  });
  loop.run();
  CHECK(calls == 1);
}

TEST_CASE_FIXTURE(async_fixture,
                  "failures of a scope that is a member go to its on_error handler") {
  struct server {
    explicit server(eddy::event_loop& loop) : tasks(loop) {
      tasks.on_error([this](const std::exception_ptr& e) {
        note(words_of(e));
        CHECK(tasks.size() == 0);
        if (++failures < 2) tasks.spawn(fail_after(1s, "second"));
      });
    }
    void request() {
      tasks.spawn(note_after(1s, &note, "done"));
      tasks.spawn(fail_after(2s, "first"));
      tasks.spawn(note_after(3s, &note, "never"));
    }
    journal note;
    int failures = 0;
    eddy::scope tasks;
  };
  server s(loop);
  loop.defer([&] { s.request(); });
  loop.run();
  CHECK(s.note == "done first second");
}

TEST_CASE_FIXTURE(async_fixture,
                  "a child that cancels its own scope and then fails makes run throw its error") {
  std::vector<std::string> taken;
  eddy::scope s(loop);
  s.on_error([&](const std::exception_ptr& e) { taken.push_back(words_of(e)); });
  auto cancel_and_fail = [&]() -> eddy::task<> {
    co_await eddy::yield();
    s.cancel();
    s.spawn([]() -> eddy::task<> { throw std::runtime_error("the scope's"); });
    throw std::runtime_error("the child's");
  };
  s.spawn(cancel_and_fail);
  CHECK_THROWS_WITH_AS(loop.run(), "the child's", std::runtime_error);
  loop.run();
  CHECK(taken == std::vector<std::string>{"the scope's"});
}

TEST_CASE_FIXTURE(
    async_fixture,
    "the on_error handler may destroy the scope, throw, or be set after the failure") {
  auto s = std::make_unique<eddy::scope>(loop);
  s->spawn(fail_after(1s));
  SUBCASE("destroy it") {
    s->on_error([&](const std::exception_ptr&) { s.reset(); });
    loop.run();
    CHECK(s == nullptr);
  }
  SUBCASE("throw") {
    s->on_error([&](const std::exception_ptr&) { throw std::logic_error("thrown"); });
    CHECK_THROWS_AS(loop.run(), std::logic_error);
  }
  SUBCASE("set after the failure") {
    loop.run();
    std::string what;
    s->on_error([&](const std::exception_ptr& e) { what = words_of(e); });
    CHECK(what.empty());
    loop.run();
    CHECK(what == "failed");
  }
}

ASYNC_TEST("join of a scope with an on_error handler does not throw") {
  std::string what;
  eddy::scope s;
  s.on_error([&](const std::exception_ptr& e) { what = words_of(e); });
  s.spawn(fail_after(1s));
  co_await s.join();
  CHECK(what == "failed");
}

ASYNC_TEST("destroying a join does not cancel the children") {
  journal note;
  eddy::scope s;
  s.spawn(note_after(2s, &note, "done"));
  const auto in_time = co_await eddy::as_result(eddy::timeout(1s, s.join()));
  CHECK(in_time.error() == std::errc::timed_out);
  CHECK(s.size() == 1);
  co_await s.join();
  CHECK(note == "done");
}

TEST_CASE_FIXTURE(async_fixture, "destroying a scope completes its join in another task") {
  auto s = std::make_unique<eddy::scope>(loop);
  s->spawn(hold(at_end(nullptr)));
  struct program {
    static eddy::task<> wait(eddy::scope* s, bool* ended) {
      co_await s->join();
      *ended = true;
    }
  };
  bool ended = false;
  auto f = eddy::spawn(loop, program::wait(s.get(), &ended));
  loop.run_ready();
  s.reset();
  loop.run_ready();
  CHECK(ended);
}

ASYNC_TEST("a dump lists each child of a scope once") {
  const auto times = [](const std::string& text, const std::string& what) {
    int n = 0;
    for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
    return n;
  };
  eddy::scope s(1);
  s.spawn(eddy::sleep(1h));
  s.spawn(hold(at_end(nullptr)));
  co_await eddy::yield();
  const std::string before = loop.dump();
  CHECK(times(before, "a scope of 2 tasks, of which 1 wait for a permit\n") == 1);
  CHECK(times(before, "sleep, 3600000 ms left") == 1);
  CHECK(times(before, "not started, waits for a permit\n") == 1);
  CHECK(s.dump().starts_with("a scope of 2 tasks"));

  std::string during;
  auto look = [&]() -> eddy::task<> {
    during = loop.dump();
    s.cancel();
    co_return;
  };
  auto looking = eddy::spawn(look);
  co_await s.join();
  CHECK(times(during, "a scope of 2 tasks") == 1);
  CHECK(during.find("body at scope_test.cc:") < during.find("a scope of 2 tasks"));
  co_await std::move(looking);
}

ASYNC_TEST("a dump does not list a task beside a scope among the scope's children") {
  eddy::scope s;
  s.spawn(eddy::sleep(1h));
  const auto beside = eddy::spawn(eddy::sleep(2h));
  co_await eddy::yield();
  CHECK(loop.dump().contains(
      "\n  a scope of 1 tasks\n    sleep, 3600000 ms left\n  sleep, 7200000 ms left\n"));
  s.cancel();
}

ASYNC_TEST("a scope and its loop can be dumped while the children are destroyed") {
  eddy::scope s;
  const auto look = [&] {
    CHECK(loop.dump().contains("tasks"));
    CHECK(s.dump().contains("a scope of"));
  };
  for (int i = 0; i < 3; ++i) s.spawn(hold(at_end(look)));
  s.spawn(fail_after(1s));
  const std::string what = co_await error_of_join(&s);
  CHECK(what == "failed");
}

ASYNC_TEST("the await trace of a child's error includes the scope") {
  std::string trace;
  const auto trace_of = [](eddy::task<> work) -> eddy::task<std::string> {
    try {
      co_await std::move(work);
    } catch (const std::runtime_error&) {
      co_return eddy::await_trace_text();
    }
    co_return "none";
  };
  eddy::scope s;
  constexpr std::ptrdiff_t lines = 3;  // fail_after, its awaiter, trace_of
  SUBCASE("joined before the error") {
    auto join = [&]() -> eddy::task<> {
      s.spawn(fail_after(1s));
      co_await s.join();
    };
    trace = co_await trace_of(join());
  }
  SUBCASE("joined after the error") {
    s.spawn(fail_after(1s));
    co_await eddy::sleep(2s);
    auto join = [&]() -> eddy::task<> { co_await s.join(); };
    trace = co_await trace_of(join());
  }
  SUBCASE("awaited with finish") {
    auto ask = [&]() -> eddy::task<> { co_await s.finish(fail_after(1s)); };
    trace = co_await trace_of(ask());
  }
  CHECK(trace.contains("fail_after at delayed.h:"));
  INFO(trace);
  CHECK(std::ranges::count(trace, '\n') == lines);
}

ASYNC_TEST("finish gives the value of work that the scope owns") {
  struct program {
    static eddy::task<int> work() {
      co_await eddy::sleep(1s);
      co_return 42;
    }
    static eddy::task<int&> reference(int* n) {
      co_await eddy::yield();
      co_return *n;
    }
  };
  eddy::scope s;
  const int answer = co_await s.finish(program::work());
  CHECK(answer == 42);
  int n = 0;
  int& same = co_await s.finish(program::reference(&n));
  CHECK(&same == &n);
  co_await s.finish(eddy::sleep(1s));
  const std::string what = co_await error_of(s.finish(fail_after(1s)));
  CHECK(what == "failed");
  co_await s.join();  // does not throw: the awaiter of finish took the error
}

ASYNC_TEST("work given to finish completes though its caller is cancelled") {
  journal note;
  eddy::scope outer;
  const auto in_time =
      co_await eddy::as_result(eddy::timeout(1s, outer.finish(note_after(2s, &note, "finished"))));
  CHECK(in_time.error() == std::errc::timed_out);
  CHECK(note == "");
  CHECK(outer.size() == 1);
  co_await outer.join();
  CHECK(note == "finished");
}

ASYNC_TEST("the scope keeps the error of finish if the caller was cancelled") {
  eddy::scope outer;
  const auto in_time = co_await eddy::as_result(eddy::timeout(1s, outer.finish(fail_after(2s))));
  CHECK(in_time.error() == std::errc::timed_out);
  const std::string what = co_await error_of_join(&outer);
  CHECK(what == "failed");
}

ASYNC_TEST("finish throws operation_canceled if the scope is cancelled") {
  eddy::scope outer;
  auto f = eddy::spawn(outer.finish(eddy::sleep(1h)));
  co_await eddy::sleep(1s);
  CHECK(outer.size() == 1);
  outer.cancel();
  const auto end = co_await eddy::as_result(std::move(f));
  CHECK(end.error() == std::errc::operation_canceled);
}

ASYNC_TEST("cancelling finish together with its caller is no error") {
  const auto finish = [](eddy::scope& s) -> eddy::task<> { co_await s.finish(eddy::sleep(1h)); };
  {
    eddy::scope both;
    both.spawn(finish(both));
    co_await eddy::sleep(1s);
    SUBCASE("by cancel()") { both.cancel(); }
    SUBCASE("by the scope's destructor") {}
    SUBCASE("by another child's failure") {
      both.spawn(fail_after(1s));
      const std::string what = co_await error_of_join(&both);
      CHECK(what == "failed");
    }
  }
  co_await eddy::sleep(1s);  // an error that leaves `run` fails the test
}

ASYNC_TEST("finish starts its work only when it is awaited") {
  int alive = 0;
  eddy::scope outer;
  {
    const auto work = outer.finish(count_until(counted(alive), 1s));
    co_await eddy::sleep(1s);
    CHECK(alive == 1);
    CHECK(outer.size() == 0);
  }
  CHECK(alive == 0);
}

TEST_CASE_FIXTURE(async_fixture,
                  "work with scopes can be cancelled in every turn and leaves nothing behind") {
  struct program {
    static eddy::task<> child(eddy::scope* s, counted held, int depth) {
      co_await eddy::yield();
      if (depth != 0) s->spawn(child(s, held, depth - 1));
      co_await eddy::sleep(1s);
    }
    static eddy::task<int> value(counted) {
      co_await eddy::sleep(2s);
      co_return 42;
    }
    static eddy::task<> run(eddy::scope* outer, int* alive) {
      const counted first(*alive);
      eddy::scope s(2);
      for (int i = 0; i < 3; ++i) s.spawn(child(&s, counted(*alive), 2));
      const int n = co_await outer->finish(value(counted(*alive)));
      CHECK(n == 42);
      co_await s.join();
      s.spawn(fail_after(1s));
      s.spawn(child(&s, counted(*alive), 0));
      const std::string what = co_await error_of_join(&s);
      CHECK(what == "failed");
    }
  };
  bool destroy_caller = false;
  SUBCASE("by destroying the caller") { destroy_caller = true; }
  SUBCASE("by cancelling the scope that was given work to finish") {}
  bool ended = false;
  for (int turns = 0; !ended; ++turns) {
    int alive = 0;
    eddy::scope outer(loop);
    auto f = eddy::spawn(loop, program::run(&outer, &alive));
    for (int i = 0; i < turns && !f.ready(); ++i) loop.run_once();
    ended = f.ready();
    destroy_caller ? static_cast<void>(f = {}) : outer.cancel();
    loop.run();
    CHECK(alive == 0);
    CHECK(outer.size() == 0);
    if (f) static_cast<void>(std::move(f).take());
    REQUIRE(turns < 100);
  }
}

TEST_CASE("misuse of a scope aborts") {
  dies_saying("a scope was made with a limit of zero", [] {
    eddy::event_loop loop;
    const eddy::scope s(loop, 0);
  });
  dies_saying("scope was called while no loop runs on this thread: name the loop",
              [] { const eddy::scope s; });
  dies_saying("a scope is joined by two coroutines at once", [] {
    struct program {
      static eddy::task<> join(eddy::scope* s) { co_await s->join(); }
    };
    eddy::event_loop loop;
    eddy::scope s(loop);
    s.spawn(hold(at_end(nullptr)));
    auto a = eddy::spawn(loop, program::join(&s));
    auto b = eddy::spawn(loop, program::join(&s));
    loop.run();
  });
  dies_saying("used from another thread", [] {
    eddy::event_loop loop;
    eddy::scope s(loop);
    loop.defer([&] { std::thread([&] { s.spawn(eddy::detail::as_task(eddy::yield())); }).join(); });
    loop.run();
  });
}

namespace {

eddy::task<> doze() { co_await eddy::sleep(9s); }

eddy::task<> look_at_deadline(std::optional<eddy::time_point>* into) {
  co_await eddy::yield();
  *into = eddy::current_deadline();
}

}  // namespace

ASYNC_TEST("a scope fails at its deadline, and the error lists its children") {
  eddy::scope all;
  const auto begin = loop.now();
  const unsigned line = std::source_location::current().line() + 1;
  all.set_deadline(begin + 2s);
  CHECK(all.deadline() == begin + 2s);
  all.spawn(doze());
  all.spawn(doze());
  std::string what;
  try {
    co_await all.join();
  } catch (const eddy::timed_out& e) {
    CHECK(e.limit() == 2s);
    CHECK(e.where().line() == line);
    CHECK(e.waited_for().contains("a scope of 2 tasks\n"));
    what = e.what();
  }
  INFO(what);
  CHECK(what.contains("doze at scope_test.cc:"));
  CHECK(loop.now() == begin + 2s);
  CHECK(all.size() == 0);
  CHECK_FALSE(all.deadline());

  all.spawn(doze());
  co_await all.join();
  CHECK(loop.now() == begin + 11s);
}

ASYNC_TEST("a scope's deadline can be moved, and also limits later children") {
  eddy::scope all;
  const auto begin = loop.now();
  all.set_deadline(begin + 1s);
  all.set_deadline(begin + 20s);
  all.spawn(doze());
  co_await all.join();
  CHECK(loop.now() == begin + 9s);
  all.spawn(eddy::sleep(1h));
  const auto end = co_await eddy::as_result(all.join());
  CHECK(end.error() == std::errc::timed_out);
  CHECK(loop.now() == begin + 20s);
}

ASYNC_TEST("current_deadline in a child is its scope's deadline") {
  eddy::scope all;
  const auto begin = loop.now();
  std::optional<eddy::time_point> seen;
  std::optional<eddy::time_point> nearer;
  all.set_deadline(begin + 2s);
  all.spawn(look_at_deadline(&seen));
  all.spawn(eddy::timeout(1s, look_at_deadline(&nearer)));
  co_await all.join();
  CHECK(seen == begin + 2s);
  CHECK(nearer == begin + 1s);
}

TEST_CASE_FIXTURE(with_still_loop, "a due deadline is withdrawn when the last child completes") {
  for (const eddy::duration passed : {eddy::duration(2s), eddy::duration(1s + 5ms)}) {
    eddy::scope all(loop);
    all.on_error([](std::exception_ptr) { FAIL_CHECK("no child was left"); });
    all.spawn([]() -> eddy::task<> { co_await eddy::sleep(1s); });
    all.set_deadline(loop.now() + 1s);
    loop.run_ready();
    clock.advance(passed);
    loop.run_ready();
    CHECK(all.size() == 0);
    CHECK_FALSE(all.deadline());
    CHECK(loop.count().ready == 0);
    CHECK(loop.count().timers == 0);
  }
}

TEST_CASE_FIXTURE(async_fixture,
                  "the deadline of a scope without children does not keep the loop running") {
  eddy::scope all(loop);
  const auto begin = loop.now();
  all.set_deadline(begin + 2s);
  loop.run();
  CHECK(loop.now() == begin);
  all.spawn(doze());
  bool told = false;
  all.on_error([&](const std::exception_ptr&) { told = true; });
  loop.run();
  CHECK(told);
  CHECK(loop.now() == begin + 2s);
}

TEST_CASE_FIXTURE(async_fixture,
                  "the deadline does not keep the loop running after all children completed") {
  eddy::scope all(loop);
  const auto begin = loop.now();
  all.set_deadline(begin + 20s);
  all.spawn(doze());
  loop.run();
  CHECK(loop.now() == begin + 9s);
  all.spawn(doze());
  all.cancel();
  loop.run();
  CHECK(loop.now() == begin + 9s);
}

TEST_CASE_FIXTURE(async_fixture,
                  "a scope's deadline keeps the loop running while the scope has children") {
  eddy::scope all(loop);
  const auto begin = loop.now();
  eddy::promise<> never(loop);
  bool told = false;
  all.on_error([&](const std::exception_ptr&) { told = true; });
  all.set_deadline(begin + 2s);
  all.spawn(never.get_future());
  loop.run();
  CHECK(told);
  CHECK(loop.now() == begin + 2s);
}

ASYNC_TEST("a deadline that expires while a scope has no children is no failure") {
  eddy::scope all;
  all.set_deadline(loop.now() + 2s);
  co_await eddy::sleep(3s);
  CHECK_FALSE(all.deadline());
  std::optional<eddy::time_point> seen;
  all.spawn(look_at_deadline(&seen));
  CHECK(all.size() == 1);
  co_await all.join();
  CHECK_FALSE(seen);
}

TEST_CASE_FIXTURE(with_still_loop,
                  "after a loop was late, an event that came in time beats a scope's deadline") {
  const socket_pair pair;
  bool readable = false;
  const auto wait = [](int descriptor, bool& right) -> eddy::task<> {
    co_await eddy::until_readable(descriptor);
    right = true;
  };
  eddy::scope all(loop);
  std::exception_ptr error;
  all.on_error([&](std::exception_ptr e) { error = std::move(e); });
  all.spawn(wait(pair.near(), readable));
  all.set_deadline(loop.now() + 1s);
  loop.run_ready();
  pair.send();
  clock.advance(1s + 11ms);
  while (loop.run_ready()) {
  }
  CHECK(readable);
  CHECK(error == nullptr);

  SUBCASE("without an event, the deadline expires") {
    all.spawn(wait(pair.far(), readable));
    all.set_deadline(loop.now() + 1s);
    loop.run_ready();
    clock.advance(1h);
    while (loop.run_ready()) {
    }
    CHECK(all.size() == 0);
    CHECK(error != nullptr);
  }
  SUBCASE("a deadline in the past expires at once") {
    readable = false;
    pair.send();
    all.spawn(wait(pair.near(), readable));
    all.set_deadline(loop.now() - 1h);
    while (loop.run_ready()) {
    }
    CHECK_FALSE(readable);
    CHECK(error != nullptr);
  }
}

TEST_CASE_FIXTURE(async_fixture,
                  "a task destroyed by a child of its scope is destroyed after all the children") {
  struct program {
    static eddy::task<> child(const std::string* name, journal* note, eddy::future<>* all) {
      const at_end last([=] { (*note)(*name); });
      const at_end first([=] { *all = {}; });
      co_await eddy::sleep(1h);
    }
    static eddy::task<> join_all(journal* note, eddy::future<>* all, eddy::scope** where) {
      const std::string name = "a child of a task with a long name";
      const at_end outer([=] { (*note)("the task"); });
      eddy::scope children;
      *where = &children;
      for (int i = 0; i < 2; ++i) children.spawn(child(&name, note, all));
      co_await children.join();
    }
  };
  journal note;
  eddy::future<> all;
  eddy::scope* children = nullptr;
  all = eddy::spawn(loop, program::join_all(&note, &all, &children));
  loop.run_ready();
  SUBCASE("cancelled by a handler") {
    loop.defer([&] { children->cancel(); });
  }
  SUBCASE("cancelled at its deadline") { children->set_deadline(loop.after(1ms)); }
  loop.on_exception([](const std::exception_ptr&) {});  // the deadline's error
  loop.run();
  CHECK(note == "a child of a task with a long name a child of a task with a long name the task");
}
