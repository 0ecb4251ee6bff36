// SPDX-License-Identifier: BSD-2-Clause
// What <eddy/future/scope.h> promises.
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
#include "support/error_words.h"
#include "support/forked.h"
#include "support/journal.h"
#include "support/socket_pair.h"

using namespace std::chrono_literals;

// As a spawned task's.
static_assert(sizeof(eddy::detail::scope_child) <= 56);

namespace {

eddy::task<> hold(at_end) { co_await eddy::sleep(1h); }

eddy::task<> note_after(eddy::duration delay, journal* note, std::string name) {
  co_await eddy::sleep(delay);
  (*note)(name);
}

eddy::task<> fail_after(eddy::duration delay, const char* why = "failed") {
  co_await eddy::sleep(delay);
  throw std::runtime_error(why);
}

eddy::task<> count_until(counted, eddy::duration delay) { co_await eddy::sleep(delay); }

eddy::task<std::string> error_of(eddy::task<> work) {
  std::string what = "none";
  try {
    co_await std::move(work);
  } catch (const std::exception& e) {
    what = e.what();
  }
  co_return what;
}

eddy::task<std::string> error_of_join(eddy::scope* s) {
  const std::string what = co_await error_of(eddy::detail::as_task(s->join()));
  co_return what;
}

}  // namespace

ASYNC_TEST("join waits for all children, which run side by side") {
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
  co_await s.join();  // there is nothing to wait for
}

ASYNC_TEST("children begin in the loop's next turn, in order") {
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

ASYNC_TEST("a child may spawn into its scope, and join waits for that, too") {
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

ASYNC_TEST("what is spawned when a join is on its way is waited for, too") {
  journal note;
  eddy::scope s;
  s.spawn(eddy::yield());
  // It goes on after the last child's end, which queues the join, and before that goes on.
  auto later = [&note](eddy::scope* into) -> eddy::task<> {
    co_await eddy::yield();
    into->spawn(note_after(1s, &note, "late"));
  };
  auto other = eddy::spawn(later(&s));
  co_await s.join();
  CHECK(note == "late");
  co_await std::move(other);
}

ASYNC_TEST("a function is moved into its task, with what it captures, and its arguments") {
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

ASYNC_TEST("a dropped scope drops its children, the last one first") {
  journal note;
  {
    eddy::scope s;
    s.spawn(hold(at_end([&] { note("a"); })));
    s.spawn(hold(at_end([&] { note("b"); })));
    SUBCASE("that have not begun") {}
    SUBCASE("that wait") { co_await eddy::yield(); }
  }
  CHECK(note == "b a");
  CHECK(loop.count().timers == 0);
}

ASYNC_TEST("a dropped coroutine's scope goes with it, before what was declared before it") {
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
  SUBCASE("while it joins") { join = true; }
  SUBCASE("while it waits for something else") {}
  auto f = eddy::spawn(program::run(&note, join));
  co_await eddy::sleep(1s);
  f = {};
  CHECK(note == "child local");
}

ASYNC_TEST("a failure cancels the siblings at once and comes out of join") {
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

ASYNC_TEST("a failure that nobody waits for is kept until join; till then no child is taken") {
  int alive = 0;
  eddy::scope s;
  s.spawn(fail_after(1s));
  co_await eddy::sleep(2s);
  s.spawn(count_until(counted(alive), 1s));
  CHECK(s.size() == 0);
  CHECK(alive == 0);
  const std::string what = co_await error_of_join(&s);
  CHECK(what == "failed");

  // It has been given to somebody, and the scope may be used again.
  s.spawn(count_until(counted(alive), 1s));
  CHECK(s.size() == 1);
  co_await s.join();
}

TEST_CASE_FIXTURE(async_fixture, "a failure that nobody was given leaves run when the scope goes") {
  std::optional<eddy::scope> s(std::in_place, loop);
  s->spawn(fail_after(1s));
  loop.run();
  s.reset();
  CHECK_THROWS_WITH_AS(loop.run(), "failed", std::runtime_error);
}

TEST_CASE_FIXTURE(async_fixture, "a loop may be dumped while a scope goes whose child has failed") {
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

ASYNC_TEST(
    "a limit keeps the number of those that run; the others wait, first come, first served") {
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

ASYNC_TEST("children that wait for room are dropped with the others") {
  int alive = 0;
  {
    eddy::scope s(1);
    for (int i = 0; i < 3; ++i) s.spawn(count_until(counted(alive), 1h));
    co_await eddy::yield();
    CHECK(alive == 3);
    SUBCASE("by the end of the scope") {}
    SUBCASE("by cancel") {
      s.cancel();
      CHECK(alive == 0);
      CHECK(s.size() == 0);
      co_await s.join();
    }
  }
  CHECK(alive == 0);
}

ASYNC_TEST("a scope that was cancelled may be used again") {
  journal note;
  eddy::scope s;
  s.spawn(note_after(1s, &note, "never"));
  s.cancel();
  s.spawn(note_after(1s, &note, "again"));
  co_await s.join();
  CHECK(note == "again");
}

ASYNC_TEST("cancelling ends a join") {
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

ASYNC_TEST("what a child spawns while the scope is cancelled is dropped") {
  int alive = 0;
  {
    eddy::scope s;
    s.spawn(hold(at_end([&] {
      s.spawn(count_until(counted(alive), 1h));
      CHECK(alive == 0);  // at once, so that no child can keep the cancel from its end
    })));
    co_await eddy::yield();
    s.cancel();
    CHECK(s.size() == 0);
    CHECK(alive == 0);
    s.spawn(hold(at_end([&] { s.spawn(count_until(counted(alive), 1h)); })));
  }
  CHECK(alive == 0);
}

TEST_CASE_FIXTURE(async_fixture, "a child may destroy its scope, and goes at its next co_await") {
  journal note;
  struct owner {
    owner(eddy::event_loop& loop, journal* n) : note(n), tasks(loop) {
      tasks.spawn(&owner::wait, this, "sibling");
      tasks.spawn(&owner::end, this);
      tasks.spawn(&owner::wait, this, "waits for room");
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
  CHECK(note == "waits for room sibling still here gone");
}

TEST_CASE_FIXTURE(async_fixture, "a child may drop the coroutine that joins its scope") {
  journal note;
  eddy::future<> joining;
  struct program {
    static eddy::task<> end(eddy::future<>* joining, journal* note, const int* local) {
      co_await eddy::sleep(1s);
      *joining = {};
      (*note)(*local);  // it is still there
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

TEST_CASE_FIXTURE(async_fixture, "what goes with a child may destroy the scope, or cancel it") {
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
  SUBCASE("when it has ended") {
    struct program {
      static eddy::task<> end(at_end) { co_await eddy::sleep(1s); }
    };
    s->spawn(program::end(at_end([&] { s.reset(); })));
    loop.run();
  }
  SUBCASE("or cancel it again") {
    s->spawn(hold(at_end([same = s.get()] { same->cancel(); })));
    loop.run_ready();
    s.reset();
  }
  CHECK(note.text().starts_with("first"));
  CHECK(s == nullptr);
}

TEST_CASE_FIXTURE(async_fixture,
                  "a child that is dropped by a cancel within a cancel may destroy the scope") {
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

TEST_CASE_FIXTURE(async_fixture, "nothing of a scope is used after it has gone") {
  /// A scope whose memory is overwritten when it goes.
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
  SUBCASE("by a join") {
    s.scope->spawn(hold(at_end(nullptr)));
    loop.run_ready();
    s.destroy();
  }
  SUBCASE("by a cancel") {
    s.scope->spawn(hold(at_end(nullptr)));
    s.scope->spawn(hold(at_end([&] { s.destroy(); })));
    loop.run_ready();
    s.scope->cancel();
  }
  SUBCASE("by a cancel in which there is another one") {
    s.scope->spawn(hold(at_end(nullptr)));
    s.scope->spawn(hold(at_end([&] { s.destroy(); })));
    s.scope->spawn(hold(at_end([&] { s.scope->cancel(); })));
    loop.run_ready();
    s.scope->cancel();
  }
  SUBCASE("by the end of a child") {
    s.scope->spawn(program::end(at_end([&] { s.destroy(); })));
    s.scope->spawn(hold(at_end(nullptr)));
    loop.run_ready();
  }
  loop.run();
  CHECK(s.gone);
  CHECK(joined);
}

ASYNC_TEST("a scope that is cancelled again before its join goes on ends that once") {
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

ASYNC_TEST("a handler that is given before a join goes on takes the failure") {
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

TEST_CASE_FIXTURE(async_fixture, "a handler of failures that was removed in time is not called") {
  int calls = 0;
  eddy::scope s(loop);
  s.on_error([&](const std::exception_ptr&) { ++calls; });
  s.spawn(hold(at_end([&] { s.on_error(nullptr); })));  // goes when its sibling fails
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

TEST_CASE_FIXTURE(async_fixture, "a scope may be a member, and its failures go to a handler") {
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

TEST_CASE_FIXTURE(async_fixture, "the handler of failures may destroy the scope, or throw") {
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
  SUBCASE("be given late") {
    loop.run();
    std::string what;
    s->on_error([&](const std::exception_ptr& e) { what = words_of(e); });
    CHECK(what.empty());
    loop.run();
    CHECK(what == "failed");
  }
}

ASYNC_TEST("a join beside a handler of failures only waits") {
  std::string what;
  eddy::scope s;
  s.on_error([&](const std::exception_ptr& e) { what = words_of(e); });
  s.spawn(fail_after(1s));
  co_await s.join();
  CHECK(what == "failed");
}

ASYNC_TEST("a join that is dropped leaves the children alone") {
  journal note;
  eddy::scope s;
  s.spawn(note_after(2s, &note, "done"));
  const auto in_time = co_await eddy::as_result(eddy::timeout(1s, s.join()));
  CHECK(in_time.error() == std::errc::timed_out);
  CHECK(s.size() == 1);
  co_await s.join();
  CHECK(note == "done");
}

TEST_CASE_FIXTURE(async_fixture, "the end of the scope ends a join from outside") {
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

ASYNC_TEST("what still runs can be listed, once") {
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
  CHECK(times(before, "a scope of 2 tasks, of which 1 wait for room\n") == 1);
  CHECK(times(before, "sleep, 3600000 ms left") == 1);
  CHECK(times(before, "not begun, waits for room\n") == 1);
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

ASYNC_TEST("a task beside a scope is not told as one of the scope's") {
  eddy::scope s;
  s.spawn(eddy::sleep(1h));
  const auto beside = eddy::spawn(eddy::sleep(2h));
  co_await eddy::yield();
  CHECK(loop.dump().contains(
      "\n  a scope of 1 tasks\n    sleep, 3600000 ms left\n  sleep, 7200000 ms left\n"));
  s.cancel();
}

ASYNC_TEST("a scope may be looked at at any time, also while it ends") {
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

ASYNC_TEST("an error tells the way by which it came through a scope") {
  std::string way;
  const auto way_of = [](eddy::task<> work) -> eddy::task<std::string> {
    try {
      co_await std::move(work);
    } catch (const std::runtime_error&) {
      co_return eddy::await_trace_text();
    }
    co_return "none";
  };
  eddy::scope s;
  constexpr std::ptrdiff_t lines = 3;  // fail_after, who awaits it, way_of
  SUBCASE("that was joined") {
    auto join = [&]() -> eddy::task<> {
      s.spawn(fail_after(1s));
      co_await s.join();
    };
    way = co_await way_of(join());
  }
  SUBCASE("that is joined later") {
    s.spawn(fail_after(1s));
    co_await eddy::sleep(2s);
    auto join = [&]() -> eddy::task<> { co_await s.join(); };
    way = co_await way_of(join());
  }
  SUBCASE("that finished it") {
    auto ask = [&]() -> eddy::task<> { co_await s.finish(fail_after(1s)); };
    way = co_await way_of(ask());
  }
  SUBCASE("with it") {
    auto body = [](eddy::scope&) -> eddy::task<> { co_await fail_after(1s); };
    way = co_await way_of(eddy::with_scope(body));
  }
  CHECK(way.contains("fail_after at scope_test.cc:"));
  INFO(way);
  CHECK(std::ranges::count(way, '\n') == lines);
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
  co_await s.join();  // the error was the awaiter's, not the scope's
}

ASYNC_TEST("an inner task finishes though its caller goes") {
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

ASYNC_TEST("its error is then the scope's") {
  eddy::scope outer;
  const auto in_time = co_await eddy::as_result(eddy::timeout(1s, outer.finish(fail_after(2s))));
  CHECK(in_time.error() == std::errc::timed_out);
  const std::string what = co_await error_of_join(&outer);
  CHECK(what == "failed");
}

ASYNC_TEST("work to finish that the scope drops is told as cancelled") {
  eddy::scope outer;
  auto f = eddy::spawn(outer.finish(eddy::sleep(1h)));
  co_await eddy::sleep(1s);
  CHECK(outer.size() == 1);
  outer.cancel();
  const auto end = co_await eddy::as_result(std::move(f));
  CHECK(end.error() == std::errc::operation_canceled);
}

ASYNC_TEST("work to finish that is cancelled with its caller is no error") {
  const auto finish = [](eddy::scope& s) -> eddy::task<> { co_await s.finish(eddy::sleep(1h)); };
  {
    eddy::scope both;
    both.spawn(finish(both));
    co_await eddy::sleep(1s);
    SUBCASE("by the scope") { both.cancel(); }
    SUBCASE("by its end") {}
    SUBCASE("by another child's failure") {
      both.spawn(fail_after(1s));
      const std::string what = co_await error_of_join(&both);
      CHECK(what == "failed");
    }
  }
  co_await eddy::sleep(1s);  // what leaves `run` fails the test
}

ASYNC_TEST("work to finish does not begin before it is awaited") {
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

ASYNC_TEST("with_scope gives its body's value when all that was spawned has ended") {
  journal note;
  auto body = [&note](eddy::scope& s, std::unique_ptr<int> n) -> eddy::task<int> {
    s.spawn(note_after(2s, &note, "child"));
    co_await eddy::sleep(1s);
    note("body");
    co_return *n;
  };
  auto work = eddy::with_scope(std::move(body), std::make_unique<int>(42));
  const int answer = co_await std::move(work);
  CHECK(answer == 42);
  CHECK(note == "body child");
}

ASYNC_TEST("an error of the body or of a child cancels all the others and comes out") {
  int alive = 0;
  const char* expected = "";
  std::string what;
  SUBCASE("of the body") {
    expected = "body";
    auto body = [&](eddy::scope& s) -> eddy::task<> {
      s.spawn(count_until(counted(alive), 1h));
      co_await eddy::sleep(1s);
      throw std::runtime_error("body");
    };
    what = co_await error_of(eddy::with_scope(body));
  }
  SUBCASE("of a child") {
    expected = "child";
    auto body = [&](eddy::scope& s) -> eddy::task<> {
      s.spawn(fail_after(1s, "child"));
      co_await count_until(counted(alive), 1h);
    };
    what = co_await error_of(eddy::with_scope(body));
  }
  SUBCASE("or the end of it by cancel") {
    expected = "cancelled before its body";
    auto body = [&](eddy::scope& s) -> eddy::task<> {
      s.cancel();
      co_await count_until(counted(alive), 1h);
    };
    what = co_await error_of(eddy::with_scope(body));
  }
  CHECK(what.contains(expected));
  CHECK(alive == 0);
}

TEST_CASE_FIXTURE(async_fixture,
                  "what uses scopes may be ended in every turn, and leaves nothing") {
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
  bool drop_caller = false;
  SUBCASE("by dropping the caller") { drop_caller = true; }
  SUBCASE("by cancelling the scope that is to finish its work") {}
  bool ended = false;
  for (int turns = 0; !ended; ++turns) {
    int alive = 0;
    eddy::scope outer(loop);
    auto f = eddy::spawn(loop, program::run(&outer, &alive));
    for (int i = 0; i < turns && !f.ready(); ++i) loop.run_once();
    ended = f.ready();
    drop_caller ? static_cast<void>(f = {}) : outer.cancel();
    loop.run();
    CHECK(alive == 0);
    CHECK(outer.size() == 0);
    if (f) static_cast<void>(std::move(f).take());
    REQUIRE(turns < 100);
  }
}

TEST_CASE("wrong use of a scope stops the program") {
  dies_saying("a scope was made that lets no child run: its limit is zero", [] {
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

ASYNC_TEST("a scope that has a deadline fails when that comes, and says where the time went") {
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

ASYNC_TEST("the deadline of a scope can be moved, and holds for later children") {
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

ASYNC_TEST("children see the deadline of their scope") {
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

TEST_CASE_FIXTURE(with_still_loop, "a due deadline goes with the last child of its scope") {
  for (const eddy::duration passed : {eddy::duration(2s), eddy::duration(1s + 5ms)}) {
    eddy::scope all(loop);
    all.on_error([](std::exception_ptr) { FAIL_CHECK("nothing was left to end"); });
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
                  "a scope without children does not keep the loop for its deadline") {
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
                  "a scope that has lost its children does not keep the loop for its deadline") {
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

TEST_CASE_FIXTURE(async_fixture, "the deadline of a scope comes though no child keeps the loop") {
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

ASYNC_TEST("a deadline that comes while a scope has no children is no failure") {
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
                  "after a loop was late, what came in time comes before a scope's deadline") {
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

  SUBCASE("one that nothing came under is over all the same") {
    all.spawn(wait(pair.far(), readable));
    all.set_deadline(loop.now() + 1s);
    loop.run_ready();
    clock.advance(1h);
    while (loop.run_ready()) {
    }
    CHECK(all.size() == 0);
    CHECK(error != nullptr);
  }
  SUBCASE("one that had passed when it was set is over at once") {
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
                  "a task that a child drops when its scope cancels it goes after all") {
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
  SUBCASE("by a handler") {
    loop.defer([&] { children->cancel(); });
  }
  SUBCASE("at its deadline") { children->set_deadline(loop.after(1ms)); }
  loop.on_exception([](const std::exception_ptr&) {});  // the deadline's
  loop.run();
  CHECK(note == "a child of a task with a long name a child of a task with a long name the task");
}
