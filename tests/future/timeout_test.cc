// SPDX-License-Identifier: BSD-2-Clause
// What <eddy/future/timeout.h> promises.
#include <eddy/future/timeout.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/adapt.h>
#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/finally.h>
#include <eddy/future/join.h>
#include <eddy/future/join_settled.h>
#include <eddy/future/promise.h>
#include <eddy/future/retry.h>
#include <eddy/future/scope.h>
#include <eddy/future/shared.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/until.h>
#include <eddy/future/yield.h>
#include <eddy/loop/readiness.h>
#include <eddy/loop/timer.h>

#include "support/async_test.h"
#include "support/at_end.h"
#include "support/counted.h"
#include "support/journal.h"
#include "support/socket_pair.h"
#include "support/tidy.h"

using namespace std::chrono_literals;

namespace {

eddy::task<int> answer_after(eddy::duration delay, counted held) {
  co_await eddy::sleep(delay);
  static_cast<void>(held);
  co_return 42;
}

eddy::task<int> answer_at_once() { co_return 42; }

eddy::task<> fail() {
  co_await eddy::yield();
  throw std::runtime_error("no");
}

eddy::task<> hold(at_end) { co_await eddy::sleep(1h); }

}  // namespace

ASYNC_TEST("work that ends in time gives its value") {
  int alive = 0;
  const int later = co_await eddy::timeout(2s, answer_after(1s, counted(alive)));
  CHECK(later == 42);
  const int at_once = co_await eddy::timeout(0s, answer_at_once());
  CHECK(at_once == 42);
  CHECK(loop.count().timers == 0);
}

ASYNC_TEST("work that does not is cancelled, and the error names the limit") {
  int alive = 0;
  std::string what;
  try {
    co_await eddy::timeout(1500ms, answer_after(2s, counted(alive)));
  } catch (const std::system_error& e) {
    CHECK(e.code() == std::errc::timed_out);
    what = e.what();
  }
  CHECK(what.find("1500 ms") != std::string::npos);
  CHECK(loop.count().timers == 0);
  CHECK(alive == 0);
}

ASYNC_TEST("the time counts from the co_await") {
  int alive = 0;
  auto limited = eddy::timeout(1s, answer_after(500ms, counted(alive)));
  co_await eddy::sleep(2s);
  const auto got = co_await eddy::as_result(std::move(limited));
  CHECK(got == 42);
}

ASYNC_TEST("an error of the work comes out") {
  bool thrown = false;
  try {
    co_await eddy::timeout(1s, fail());
  } catch (const std::runtime_error&) {
    thrown = true;
  }
  CHECK(thrown);
}

ASYNC_TEST("any awaitable can be limited") {
  eddy::promise<int> promise;
  const auto got = co_await eddy::as_result(eddy::timeout(1s, promise.get_future()));
  CHECK(got.error() == std::errc::timed_out);
  CHECK_FALSE(promise.wanted());
}

ASYNC_TEST("limits nest, and the shorter one ends the work") {
  int alive = 0;
  const auto inner = co_await eddy::as_result(
      eddy::timeout(5s, eddy::timeout(1s, answer_after(9s, counted(alive)))));
  CHECK(inner.error() == std::errc::timed_out);
  const auto outer = co_await eddy::as_result(
      eddy::timeout(1s, eddy::timeout(5s, answer_after(9s, counted(alive)))));
  CHECK(outer.error() == std::errc::timed_out);
  CHECK(alive == 0);
}

ASYNC_TEST("a dropped timeout drops its work and its timer") {
  int alive = 0;
  auto limited = eddy::spawn(eddy::timeout(1s, answer_after(9s, counted(alive))));
  co_await eddy::yield();
  CHECK(alive == 1);
  CHECK(loop.dump().find("with a time limit") != std::string::npos);
  limited = {};
  CHECK(alive == 0);
  CHECK(loop.count().timers == 0);
}

TEST_CASE_FIXTURE(async_fixture, "the end of the work may drop who waits for it") {
  journal note;
  eddy::future<> waiter;
  struct program {
    static eddy::task<> wait(eddy::future<>* self, journal* to) {
      const auto drop = [=] {
        (*to)("dropped");
        *self = {};
      };
      co_await eddy::timeout(5s, hold(at_end(drop)));
      (*to)("never");
    }
  };
  waiter = eddy::spawn(loop, program::wait(&waiter, &note));
  loop.run();
  CHECK(note == "dropped");
}

TEST_CASE_FIXTURE(async_fixture,
                  "work that a limit ends may drop who waits, and still tell errors") {
  struct program {
    static eddy::task<> fail_soon() {
      co_await eddy::yield();
      throw std::runtime_error("a sibling's");
    }
    static eddy::task<> drop_in_the_end(eddy::future<>* whole) {
      const at_end dropping([whole] { *whole = {}; });
      co_await eddy::sleep(1h);
    }
    static eddy::task<> both(eddy::future<>* whole, bool failing_first) {
      if (failing_first) {
        co_await eddy::join_settled(fail_soon(), drop_in_the_end(whole));
      } else {
        co_await eddy::join_settled(drop_in_the_end(whole), fail_soon());
      }
    }
    static eddy::task<> limited(eddy::future<>* whole, bool failing_first, bool nested) {
      auto inner = eddy::timeout(1ms, both(whole, failing_first));
      if (nested) {
        co_await eddy::timeout(1h, std::move(inner));
      } else {
        co_await std::move(inner);
      }
    }
  };
  int told = 0;
  loop.on_exception([&](const std::exception_ptr&) { ++told; });
  int programs = 0;
  for (const bool failing_first : {true, false}) {
    for (const bool nested : {true, false}) {
      eddy::future<> whole;
      whole = eddy::spawn(loop, program::limited(&whole, failing_first, nested));
      loop.run();
      CHECK_FALSE(whole);
      CHECK(told == ++programs);
    }
  }
}

TEST_CASE_FIXTURE(async_fixture, "a time limit may be looked at at any time") {
  struct program {
    static eddy::task<> wait(eddy::event_loop* on) {
      try {
        const auto look = [=] { CHECK(on->dump().contains("wait at timeout")); };
        co_await eddy::timeout(5s, hold(at_end(look)));
      } catch (const std::system_error&) {
      }
      CHECK(on->dump().contains("running"));
    }
  };
  eddy::block_on(loop, program::wait(&loop));
}

namespace {

std::string at(unsigned line) { return " at timeout_test.cc:" + std::to_string(line); }

unsigned line_of_sleep = 0;
unsigned line_of_call = 0;

eddy::task<> doze() {
  line_of_sleep = std::source_location::current().line() + 1;
  co_await eddy::sleep(9s);
}

eddy::task<> call_doze() {
  line_of_call = std::source_location::current().line() + 1;
  co_await doze();
}

eddy::task<> note_deadline(std::optional<eddy::time_point>* into) {
  *into = eddy::current_deadline();
  co_await eddy::yield();
  CHECK(*into == eddy::current_deadline());
}

eddy::task<> call_note_deadline(std::optional<eddy::time_point>* into) {
  co_await note_deadline(into);
}

}  // namespace

ASYNC_TEST("the error says which limit it was, and what the work waited for") {
  unsigned line = 0;
  bool thrown = false;
  try {
    line = std::source_location::current().line() + 1;
    co_await eddy::timeout(1s, call_doze());
  } catch (const eddy::timed_out& e) {
    thrown = true;
    CHECK(e.code() == std::errc::timed_out);
    CHECK(e.limit() == 1s);
    CHECK(e.where().line() == line);
    CHECK(e.waited_for().contains("call_doze" + at(line_of_call) + ": a task\n"));
    CHECK(e.waited_for().contains("doze" + at(line_of_sleep) + ": sleep, 8000 ms left\n"));
    const std::string what = e.what();
    INFO(what);
    CHECK(what.contains("not done within 1000 ms, the limit of "));
    CHECK(what.contains(at(line) + "; it waited in "));
    CHECK(what.contains(at(line_of_call) + ": a task > "));
    CHECK(std::ranges::count(what, '\n') == 0);
  }
  CHECK(thrown);
  static_cast<void>(loop);
}

ASYNC_TEST("of limits one in the other the error says which one it was") {
  unsigned line = 0;
  struct program {
    static eddy::task<> inner() { co_await eddy::timeout(5s, doze()); }
  };
  bool thrown = false;
  try {
    line = std::source_location::current().line() + 1;
    co_await eddy::timeout(1s, program::inner());
  } catch (const eddy::timed_out& e) {
    thrown = true;
    CHECK(e.limit() == 1s);
    CHECK(e.where().line() == line);
    CHECK(e.waited_for().contains("a task with a time limit"));
  }
  CHECK(thrown);
  static_cast<void>(loop);
}

ASYNC_TEST("a limit that eddy itself sets is that of whoever awaits it") {
  unsigned line = 0;
  unsigned named = 0;
  const eddy::retry_policy within{.limit = 1s};
  try {
    line = std::source_location::current().line() + 1;
    co_await eddy::retry(within, doze);
  } catch (const eddy::timed_out& e) {
    named = e.where().line();
  }
  CHECK(line != 0);
  CHECK(named == line);
  eddy::scope s;
  try {
    co_await eddy::finally(s, eddy::yield(), doze(), 1s);
  } catch (const eddy::timed_out& e) {
    CHECK(e.where().line() == 0);
  }
  static_cast<void>(loop);
}

ASYNC_TEST("a limit that was spawned is that of whoever awaits its future, but not of a join") {
  unsigned line = 0;
  unsigned named = 0;
  auto future = eddy::spawn(eddy::timeout(1s, doze()));
  try {
    line = std::source_location::current().line() + 1;
    co_await std::move(future);
  } catch (const eddy::timed_out& e) {
    named = e.where().line();
  }
  CHECK(line != 0);
  CHECK(named == line);
  eddy::scope s;
  s.spawn(eddy::timeout(1s, doze()));
  try {
    co_await s.join();
  } catch (const eddy::timed_out& e) {
    named = e.where().line();
  }
  CHECK(named == 0);
  static_cast<void>(loop);
}

ASYNC_TEST("work that had no time had none, and not less") {
  eddy::duration had = 1h;
  std::string what;
  try {
    co_await eddy::timeout_at(loop.now() - 5s, doze());
  } catch (const eddy::timed_out& e) {
    had = e.limit();
    what = e.what();
  }
  CHECK(had == 0s);
  CHECK(what.contains("not done within 0 ms"));
}

ASYNC_TEST("timeout_at ends the work at a time, which may have passed") {
  const auto begin = loop.now();
  const auto late = co_await eddy::as_result(eddy::timeout_at(begin + 2s, doze()));
  CHECK(late.error() == std::errc::timed_out);
  CHECK(loop.now() == begin + 2s);
  const auto passed = co_await eddy::as_result(eddy::timeout_at(begin, doze()));
  CHECK(passed.error() == std::errc::timed_out);
  CHECK(loop.now() == begin + 2s);
  const auto at_once = co_await eddy::timeout_at(begin, answer_at_once());
  CHECK(at_once == 42);
}

ASYNC_TEST("what is awaited under limits can see the earliest of them") {
  const auto begin = loop.now();
  std::optional<eddy::time_point> seen;
  co_await note_deadline(&seen);
  CHECK_FALSE(seen);
  co_await eddy::timeout(2s, call_note_deadline(&seen));
  CHECK(seen == begin + 2s);
  co_await eddy::timeout(2s, eddy::timeout(3s, call_note_deadline(&seen)));
  CHECK(seen == begin + 2s);
  co_await eddy::timeout(3s, eddy::timeout_at(begin + 1s, call_note_deadline(&seen)));
  CHECK(seen == begin + 1s);
  co_await note_deadline(&seen);
  CHECK_FALSE(seen);
}

ASYNC_TEST("a limit is seen through join, and through the future of a task that is awaited") {
  const auto begin = loop.now();
  std::optional<eddy::time_point> one;
  std::optional<eddy::time_point> other;
  co_await eddy::timeout(2s, eddy::join(call_note_deadline(&one), call_note_deadline(&other)));
  CHECK(one == begin + 2s);
  CHECK(other == begin + 2s);
  one.reset();
  co_await eddy::timeout(2s, eddy::spawn(call_note_deadline(&one)));
  CHECK(one == begin + 2s);
}

ASYNC_TEST("an error of a deadline tells how much time there was") {
  eddy::duration limit = 0s;
  std::string what;
  try {
    co_await eddy::timeout_at(loop.now() + 2s, eddy::sleep(1h));
  } catch (const eddy::timed_out& e) {
    limit = e.limit();
    what = e.what();
  }
  CHECK(limit == 2s);
  CHECK(what.contains("not done within 2000 ms"));
}

ASYNC_TEST("the words of a time limit stay short, whatever the work waited for") {
  struct talks {
    std::function<void()> operator()(eddy::completer<>) const {
      return [] {};
    }
    void describe(std::string& out) const { out.append(100'000, 'a') += '\n'; }
  };
  std::size_t words = 0;
  std::size_t waited_for = 0;
  auto work = eddy::adapt(talks());
  try {
    co_await eddy::timeout(1s, std::move(work));
  } catch (const eddy::timed_out& e) {
    words = std::string(e.what()).size();
    waited_for = e.waited_for().size();
  }
  CHECK(words > 4096);
  CHECK(words < 5000);
  CHECK(waited_for > 100'000);
  static_cast<void>(loop);
}

TEST_CASE_FIXTURE(tidy, "where no coroutine runs there is no deadline") {
  CHECK_FALSE(eddy::current_deadline());
}

// ---- Limits at their edges

namespace {

eddy::task<> ready_task() { co_return; }

/// Uses up so many of the operations that a coroutine may do before others run.
eddy::task<> pad(int count) {
  for (int i = 0; i < count; ++i) co_await ready_task();
}

}  // namespace

ASYNC_TEST("a limit that is over already ends the work, wherever the turn is") {
  for (int padding = 0; padding < 80; ++padding) {
    for (const auto limit : {-1h, 0h}) {
      co_await pad(padding);
      const auto late = co_await eddy::as_result(eddy::timeout(limit, eddy::sleep(1h)));
      CHECK(late.error() == std::errc::timed_out);
      co_await pad(padding);
      bool thrown = false;
      try {
        co_await eddy::timeout_at(eddy::time_point::min(), eddy::sleep(1h));
      } catch (const eddy::timed_out&) {
        thrown = true;
      }
      CHECK(thrown);
      co_await pad(padding);
      auto nested = eddy::timeout(1h, eddy::timeout(limit, eddy::sleep(1h)));
      const auto inner = co_await eddy::as_result(std::move(nested));
      CHECK(inner.error() == std::errc::timed_out);
    }
  }
}

ASYNC_TEST("work that need not wait ends under a limit that is over, whatever ran before") {
  const auto nothing = []() -> eddy::task<> { co_return; };
  for (int i = 0; i < 3 * eddy::event_loop::share; ++i) {
    INFO(i);
    eddy::promise<int> promise;
    eddy::future<int> ready = promise.get_future();
    promise.set_value(i);
    const int value = co_await eddy::timeout(0s, std::move(ready));
    CHECK(value == i);
    co_await eddy::timeout(-1s, eddy::sleep(0s));
    co_await eddy::timeout_at(loop.now(), eddy::join(nothing(), nothing()));
    co_await eddy::timeout(0s, eddy::timeout(1h, nothing()));
    if (i % 7 == 0) loop.charge(std::size_t{4} << 20);
  }
}

ASYNC_TEST("one deadline for many steps ends those that come after it") {
  const eddy::time_point deadline = loop.now() + 55ms;
  int done = 0;
  int late = 0;
  for (int i = 0; i < 100; ++i) {
    const auto step = co_await eddy::as_result(eddy::timeout_at(deadline, eddy::sleep(10ms)));
    ++(step ? done : late);
  }
  CHECK(done == 5);
  CHECK(late == 95);
}

TEST_CASE_FIXTURE(with_still_loop,
                  "what came in time comes before the limit, however late the loop is") {
  socket_pair pair;
  std::string end;
  const auto wait = [](int descriptor, std::string& how) -> eddy::task<> {
    const auto r = co_await eddy::as_result(eddy::timeout(1s, eddy::until_readable(descriptor)));
    how = r ? "readable" : r.error().message();
  };
  for (const eddy::duration late : {0ms, 1ms, 11ms, 1000ms}) {
    eddy::future<> waiting = eddy::spawn(loop, wait(pair.near(), end));
    loop.run_ready();
    pair.send();
    clock.advance(1s + late);
    while (loop.run_ready()) {
    }
    CHECK(waiting.ready());
    CHECK(end == "readable");
    CHECK(pair.receive() == "x");
  }
  // And a limit under which nothing came is over all the same.
  eddy::future<> waiting = eddy::spawn(loop, wait(pair.near(), end));
  loop.run_ready();
  clock.advance(1h);
  while (loop.run_ready()) {
  }
  CHECK(waiting.ready());
  CHECK(end == "Connection timed out");
}

/// Work that has its result after a while, which then comes some other way than by the
/// return of a task that is awaited.
struct result_on_its_way {
  eddy::event_loop& loop;
  eddy::scope outer{loop};
  eddy::timer timer{loop};
  eddy::promise<int> promise{loop};
  socket_pair pair{};

  static eddy::task<int> after(eddy::duration delay) {
    co_await eddy::sleep(delay);
    co_return 42;
  }
  static eddy::task<> nap(eddy::duration delay) { co_await eddy::sleep(delay); }
  static eddy::task<int> await(eddy::future<int> f) {
    const int value = co_await std::move(f);
    co_return value;
  }
  static eddy::task<int> of_promise(result_on_its_way& self, eddy::duration delay) {
    eddy::future<int> f = self.promise.get_future();
    self.timer.start(delay, [&self] { self.promise.set_value(42); });
    return await(std::move(f));
  }
  static eddy::task<int> of_future(eddy::future<int> f) {
    return await(std::move(f).then([](int v) { return v + 1; }).then([](int v) { return v - 1; }));
  }
  static eddy::task<int> of_chain(eddy::duration delay) {
    return of_future(eddy::spawn(after(delay)));
  }
  static eddy::task<int> of_shared(eddy::duration delay) {
    const eddy::shared<int> all(after(delay));
    const int value = co_await all;
    co_return value;
  }
  static eddy::task<int> of_adapt(eddy::duration delay) {
    const auto start = [delay](eddy::completer<int> done) {
      eddy::timer t(*eddy::event_loop::current());
      t.start(delay, [done] { done(42); });
      return t;
    };
    const int value = co_await eddy::adapt<int>(start);
    co_return value;
  }
  static eddy::task<int> in_scope(eddy::duration delay) {
    const auto body = [](eddy::scope&, eddy::duration d) { return after(d); };
    const int value = co_await eddy::with_scope(body, delay);
    co_return value;
  }
  static eddy::task<int> of_join(eddy::duration delay) {
    eddy::scope all;
    all.spawn(nap(delay));
    co_await all.join();
    co_return 42;
  }
  static eddy::task<int> of_finish(result_on_its_way& self, eddy::duration delay) {
    const int value = co_await self.outer.finish(after(delay));
    co_return value;
  }
  static eddy::task<int> of_finally(result_on_its_way& self, eddy::duration delay) {
    const int value = co_await eddy::finally(self.outer, after(delay), nap(0ms), 1s);
    co_return value;
  }
  static eddy::task<int> by_deadline(eddy::duration delay) {
    eddy::scope all;
    all.set_deadline(all.loop().now() + 10ms);
    int value = 0;
    const auto child = [](int& to, eddy::duration d) -> eddy::task<> {
      to = co_await await(eddy::spawn(after(d)));
    };
    all.spawn(child, std::ref(value), delay);
    co_await all.join();
    co_return value;
  }

  static eddy::task<int> of_descriptor(int descriptor, eddy::duration delay) {
    if (delay > 10ms) co_await eddy::sleep(delay);
    const auto wait = [](int d) -> eddy::task<int> {
      co_await eddy::until_readable(d);
      co_return 42;
    };
    const int value = co_await of_future(eddy::spawn(wait(descriptor)));
    co_return value;
  }

  eddy::task<int> make(int kind, eddy::duration delay) {
    switch (kind) {
      case 0: return after(delay);
      case 1: return await(eddy::spawn(loop, after(delay)));
      case 2: return of_promise(*this, delay);
      case 3: return of_chain(delay);
      case 4: return of_shared(delay);
      case 5: return of_adapt(delay);
      case 6: return in_scope(delay);
      case 7: return of_join(delay);
      case 8: return of_finish(*this, delay);
      case 9: return of_finally(*this, delay);
      case 10: return of_descriptor(pair.near(), delay);
      default: return by_deadline(delay);
    }
  }
};

TEST_CASE_FIXTURE(with_still_loop, "a result that is on its way when the time is over counts") {
  const auto limited = [](eddy::task<int> work) -> eddy::task<int> {
    const auto r = co_await eddy::as_result(eddy::timeout(10ms, std::move(work)));
    co_return r ? *r : 0;
  };
  const auto begin = [&limited](result_on_its_way& of, int kind,
                                eddy::duration delay) -> eddy::task<int> {
    const int value = co_await limited(of.make(kind, delay));
    co_return value;
  };
  for (const eddy::duration late : {0ms, 5ms, 10ms, 15ms}) {
    for (int kind = 0; kind <= 11; ++kind) {
      for (const bool in_time : {true, false}) {
        INFO(late.count(), " ns late, kind ", kind, in_time);
        result_on_its_way of(loop);
        // Others that are always ready neither push it out nor keep the limit off.
        bool over = false;
        std::function<void()> again = [&] {
          if (!over) loop.defer([&] { again(); });
        };
        again();
        eddy::future<int> f = eddy::spawn(loop, begin(of, kind, in_time ? 8ms : 1h));
        loop.run_ready();
        clock.advance(10ms + late);
        of.pair.send();
        for (int turn = 0; turn < 12 && !f.ready(); ++turn) loop.run_ready();
        over = true;
        loop.run_ready();
        REQUIRE(f.ready());
        CHECK(std::move(f).take() == (in_time ? 42 : 0));
      }
    }
  }
}

TEST_CASE_FIXTURE(with_still_loop, "neither a limit nor who awaits it waits behind a flood") {
  bool over = false;
  const std::function<void()> again = [&] {
    if (!over) loop.defer([&] { again(); });
  };
  for (int i = 0; i < 5 * eddy::event_loop::budget; ++i) again();
  const auto limited = []() -> eddy::task<> {
    static_cast<void>(co_await eddy::as_result(eddy::timeout(10ms, eddy::sleep(1h))));
  };
  const eddy::future<> f = eddy::spawn(loop, limited());
  for (int i = 0; i < 10; ++i) loop.run_ready();
  clock.advance(10ms);
  int turns = 0;
  for (; !f.ready() && turns < 100; ++turns) loop.run_ready();
  CHECK(turns < 11);
  over = true;
  while (loop.run_ready()) {
  }
}

TEST_CASE_FIXTURE(with_still_loop, "a result is let in through turns that are full") {
  constexpr std::size_t much = std::size_t{4} << 20;
  bool over = false;
  const std::function<void()> again = [&] {
    loop.charge(much);
    if (!over) loop.defer([&] { again(); });
  };
  again();
  again();
  result_on_its_way of(loop);
  const auto limited = [](result_on_its_way& from) -> eddy::task<bool> {
    const auto r = co_await eddy::as_result(eddy::timeout(10ms, from.make(1, 8ms)));
    co_return r.has_value();
  };
  eddy::future<bool> f = eddy::spawn(loop, limited(of));
  for (int i = 0; i < 10; ++i) loop.run_ready();
  clock.advance(10ms);
  for (int i = 0; i < 20; ++i) loop.run_ready();
  over = true;
  while (loop.run_ready()) {
  }
  REQUIRE(f.ready());
  CHECK(std::move(f).take().value());
}

TEST_CASE_FIXTURE(with_still_loop, "a limit that has waited for a slow handler is over after it") {
  bool over = false;
  const std::function<void()> again = [&] {
    if (!over) loop.defer([&] { again(); });
  };
  again();
  const socket_pair pair;
  const auto limited = [](int descriptor) -> eddy::task<bool> {
    const auto r = co_await eddy::as_result(eddy::timeout(10ms, eddy::until_readable(descriptor)));
    co_return r.has_value();
  };
  eddy::future<bool> f = eddy::spawn(loop, limited(pair.near()));
  loop.run_ready();
  clock.advance(10ms);
  loop.defer([&] {
    clock.advance(1s);
    pair.send();
  });
  for (int i = 0; i < 20; ++i) loop.run_ready();
  over = true;
  while (loop.run_ready()) {
  }
  REQUIRE(f.ready());
  CHECK_FALSE(std::move(f).take().value());
}

TEST_CASE_FIXTURE(with_still_loop,
                  "an error that is on its way when the time is over comes out, and nowhere else") {
  loop.on_exception([](std::exception_ptr) { FAIL_CHECK("the loop got it, too"); });
  const auto fail_in_time = []() -> eddy::task<> {
    co_await eddy::sleep(8ms);
    throw std::runtime_error("no");
  };
  std::string what;
  const auto limited = [&]() -> eddy::task<> {
    try {
      co_await eddy::timeout(10ms, eddy::spawn(fail_in_time()));
    } catch (const std::exception& e) {
      what = e.what();
    }
  };
  const eddy::future<> f = eddy::spawn(loop, limited());
  loop.run_ready();
  clock.advance(15ms);
  while (loop.run_ready()) {
  }
  CHECK(f.ready());
  CHECK(what == "no");
}

TEST_CASE_FIXTURE(with_still_loop,
                  "after a loop was late, no descriptor that is ready is left out") {
  constexpr std::size_t many = 300;  // more than libev is told of at once
  const std::vector<socket_pair> pairs(many);
  std::vector<eddy::future<>> waiting;
  std::size_t in_time = 0;
  const auto wait = [](int descriptor, std::size_t& right) -> eddy::task<> {
    const auto r = co_await eddy::as_result(eddy::timeout(1s, eddy::until_readable(descriptor)));
    if (r) ++right;
  };
  for (const socket_pair& pair : pairs) {
    waiting.push_back(eddy::spawn(loop, wait(pair.near(), in_time)));
  }
  loop.run_ready();
  for (const socket_pair& pair : pairs) pair.send();
  clock.advance(2s);
  while (loop.run_ready()) {
  }
  CHECK(in_time == many);
}

TEST_CASE_FIXTURE(with_still_loop, "after a loop was late, work that fills a turn comes first") {
  struct program {
    static eddy::task<> step() { co_return; }
    static eddy::task<> work(int descriptor) {
      co_await eddy::until_readable(descriptor);
      // A few more than a turn holds; with the last of its share, work lets others run.
      constexpr int share = eddy::event_loop::share;
      constexpr int steps = eddy::event_loop::budget / share * (share - 1) + 10;
      for (int i = 0; i < steps; ++i) co_await step();
    }
    static eddy::task<> limited(int descriptor, bool& in_time) {
      const auto r = co_await eddy::as_result(eddy::timeout(1s, work(descriptor)));
      in_time = r.has_value();
    }
  };
  const socket_pair pair;
  bool in_time = false;
  const eddy::future<> waiting = eddy::spawn(loop, program::limited(pair.near(), in_time));
  loop.run_ready();
  pair.send();
  clock.advance(2s);
  while (loop.run_ready()) {
  }
  CHECK(in_time);
}

TEST_CASE_FIXTURE(with_loop,
                  "bytes that a slow handler held up come before a limit of the same turn") {
  const socket_pair pair;
  std::string end;
  const auto wait = [](int descriptor, std::string& how) -> eddy::task<> {
    const auto r = co_await eddy::as_result(eddy::timeout(1ms, eddy::until_readable(descriptor)));
    how = r ? "readable" : r.error().message();
  };
  eddy::timer slow(loop);
  loop.defer([&] {
    slow.start(1ms, [&] {
      const auto until = std::chrono::steady_clock::now() + 15ms;
      while (std::chrono::steady_clock::now() < until) {
      }
      pair.send();
    });
  });
  eddy::future<> waiting = eddy::spawn(loop, wait(pair.near(), end));
  loop.run();
  CHECK(end == "readable");
}

TEST_CASE_FIXTURE(with_still_loop, "a late limit gives way to few turns of what was found") {
  bool over = false;
  const auto doze = [](bool& ended) -> eddy::task<> {
    co_await eddy::as_result(eddy::timeout(1s, eddy::sleep(1h)));
    ended = true;
  };
  const eddy::future<> limited = eddy::spawn(loop, doze(over));
  loop.run_ready();

  const std::vector<socket_pair> pairs(60);
  std::vector<std::unique_ptr<eddy::readiness>> watches;
  int handled = 0;
  for (const socket_pair& pair : pairs) {
    pair.send();
    watches.push_back(std::make_unique<eddy::readiness>(loop, pair.near()));
    watches.back()->wait_readable([&](std::error_code) {
      ++handled;
      loop.charge(std::size_t{4} << 20);  // which fills a turn
    });
  }
  clock.advance(2s);
  for (int turns = 0; !over && turns < 200; ++turns) loop.run_ready();
  CHECK(over);
  CHECK(handled > 1);
  CHECK(handled < 20);  // of 60
}

TEST_CASE_FIXTURE(with_still_loop, "many late limits wait for descriptors, not for each other") {
  // Always ready, and each handler fills a turn.
  constexpr std::size_t much = std::size_t{4} << 20;
  const std::vector<socket_pair> pairs(20);
  std::vector<std::unique_ptr<eddy::readiness>> always;
  const std::function<void(std::size_t)> again = [&](std::size_t i) {
    always[i]->wait_readable([&, i](std::error_code) {
      again(i);
      loop.charge(much);
    });
  };
  for (const socket_pair& pair : pairs) {
    pair.send();
    always.push_back(std::make_unique<eddy::readiness>(loop, pair.near()));
    again(always.size() - 1);
  }
  std::vector<eddy::future<>> limited;
  int over = 0;
  constexpr int many = 60;
  const auto doze = [](int& ended) -> eddy::task<> {
    const auto r = co_await eddy::as_result(eddy::timeout(1s, eddy::sleep(1h)));
    if (!r) ++ended;
  };
  for (int i = 0; i < many; ++i) limited.push_back(eddy::spawn(loop, doze(over)));
  loop.run_ready();
  for (int i = 0; i < 200; ++i) loop.run_ready();
  CHECK(over == 0);
  clock.advance(2s);
  int turns = 0;
  for (; over != many && turns < 1000; ++turns) loop.run_ready();
  CAPTURE(turns);
  CHECK(turns < 100);
  always.clear();
}
