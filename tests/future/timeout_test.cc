// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/timeout.h>.
#include <eddy/future/timeout.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
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
#include <eddy/future/flow/finally.h>
#include <eddy/future/flow/join_settled.h>
#include <eddy/future/flow/retry.h>
#include <eddy/future/join.h>
#include <eddy/future/promise.h>
#include <eddy/future/scope.h>
#include <eddy/future/select.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/until.h>
#include <eddy/future/yield.h>
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

ASYNC_TEST("work that completes within its limit gives its value") {
  int alive = 0;
  const int later = co_await eddy::timeout(2s, answer_after(1s, counted(alive)));
  CHECK(later == 42);
  const int at_once = co_await eddy::timeout(0s, answer_at_once());
  CHECK(at_once == 42);
  CHECK(loop.count().timers == 0);
}

ASYNC_TEST("work that exceeds its limit is cancelled, and the error names the limit") {
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

ASYNC_TEST("the limit starts at the co_await, not at the call of timeout") {
  int alive = 0;
  auto limited = eddy::timeout(1s, answer_after(500ms, counted(alive)));
  co_await eddy::sleep(2s);
  const auto got = co_await eddy::as_result(std::move(limited));
  CHECK(got == 42);
}

ASYNC_TEST("timeout throws the error of its work") {
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

ASYNC_TEST("of two nested limits, the shorter cancels the work") {
  int alive = 0;
  const auto inner = co_await eddy::as_result(
      eddy::timeout(5s, eddy::timeout(1s, answer_after(9s, counted(alive)))));
  CHECK(inner.error() == std::errc::timed_out);
  const auto outer = co_await eddy::as_result(
      eddy::timeout(1s, eddy::timeout(5s, answer_after(9s, counted(alive)))));
  CHECK(outer.error() == std::errc::timed_out);
  CHECK(alive == 0);
}

ASYNC_TEST("destroying a timeout cancels its work and its timer") {
  int alive = 0;
  auto limited = eddy::spawn(eddy::timeout(1s, answer_after(9s, counted(alive))));
  co_await eddy::yield();
  CHECK(alive == 1);
  CHECK(loop.dump().find("with a time limit") != std::string::npos);
  limited = {};
  CHECK(alive == 0);
  CHECK(loop.count().timers == 0);
}

TEST_CASE_FIXTURE(async_fixture,
                  "work that destroys its task as it expires is destroyed before the task") {
  struct program {
    static eddy::task<> work(const std::string* name, journal* note, eddy::future<>* all) {
      const at_end last([=] { (*note)(*name); });
      const at_end first([=] { *all = {}; });
      co_await eddy::sleep(1h);
    }
    static eddy::task<> limited(journal* note, eddy::future<>* all) {
      const std::string name = "the work of a task with a long name";
      const at_end outer([=] { (*note)("the task"); });
      co_await eddy::timeout(1ms, eddy::timeout(1h, work(&name, note, all)));
    }
  };
  journal note;
  eddy::future<> all;
  all = eddy::spawn(loop, program::limited(&note, &all));
  loop.run();
  CHECK(note == "the work of a task with a long name the task");
  CHECK(!all.ready());
}

TEST_CASE_FIXTURE(async_fixture, "cancelled work may destroy the waiter of its timeout") {
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
                  "a sibling's error is reported though expired work destroyed the waiter") {
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

TEST_CASE_FIXTURE(async_fixture, "the loop can be dumped while a limit cancels its work") {
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

ASYNC_TEST("timed_out names the limit's location and lists the cancelled work's awaits") {
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
    CHECK(what.contains(at(line) + "; the work waited in "));
    CHECK(what.contains(at(line_of_call) + ": a task > "));
    CHECK(std::ranges::count(what, '\n') == 0);
  }
  CHECK(thrown);
  static_cast<void>(loop);
}

ASYNC_TEST("timed_out names the limit that expired among nested limits") {
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

ASYNC_TEST("the limit of a retry has the location of the retry's co_await") {
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

ASYNC_TEST("a spawned limit has the location of its future's co_await, but none in a join") {
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

ASYNC_TEST("timed_out gives the limit as 0 if the deadline had passed") {
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

ASYNC_TEST("timeout_at cancels its work at a time, also at a past time") {
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

ASYNC_TEST("current_deadline is the earliest of the limits around the coroutine") {
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

ASYNC_TEST("current_deadline sees limits through join and through an awaited future") {
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

ASYNC_TEST("timed_out gives the time that was left until the deadline of timeout_at") {
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

ASYNC_TEST("what() of timed_out stays short, whatever the work awaited") {
  struct talks {
    std::function<void()> operator()(eddy::completer<>) const {
      return [] {};
    }
    std::string describe() const { return std::string(100'000, 'a'); }
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

ASYNC_TEST("the words of a time limit stay in one line, whatever the work waited for") {
  struct talks {
    std::function<void()> operator()(eddy::completer<>) const {
      return [] {};
    }
    const char* describe() const noexcept { return "  a > forged | node\n  and \x1b[31m line"; }
  };
  std::string words;
  std::string waited_for;
  auto work = eddy::adapt(talks());
  try {
    co_await eddy::timeout(1s, std::move(work));
  } catch (const eddy::timed_out& e) {
    words = e.what();
    waited_for = e.waited_for();
  }
  CHECK_MESSAGE(
      words.contains("; the work waited in a \\> forged \\| node\\x0a  and \\x1b[31m line"), words);
  CHECK(waited_for == "a > forged | node\\x0a  and \\x1b[31m line\n");
  static_cast<void>(loop);
}

ASYNC_TEST("the words of a time limit tell what is beside and what is below") {
  std::string words;
  std::string waited_for;
  auto work = eddy::join(eddy::sleep(2s), eddy::select(eddy::sleep(3s), eddy::sleep(4s)));
  try {
    co_await eddy::timeout(1s, std::move(work));
  } catch (const eddy::timed_out& e) {
    words = e.what();
    waited_for = e.waited_for();
  }
  CHECK_MESSAGE(
      words.contains("; the work waited in all of > sleep, 1000 ms left | the first of > sleep, "
                     "2000 ms left | sleep, 3000 ms left"),
      words);
  CHECK(waited_for ==
        "all of\n  sleep, 1000 ms left\n  the first of\n    sleep, 2000 ms left\n"
        "    sleep, 3000 ms left\n");
  static_cast<void>(loop);
}

TEST_CASE_FIXTURE(tidy, "where no coroutine runs there is no deadline") {
  CHECK_FALSE(eddy::current_deadline());
}

// ---- Limits that are due already, or that expire together

namespace {

eddy::task<> ready_task() { co_return; }

/// Performs `count` of the operations that a coroutine may do before others run.
eddy::task<> pad(int count) {
  for (int i = 0; i < count; ++i) co_await ready_task();
}

}  // namespace

ASYNC_TEST("an expired limit cancels the work, whatever ran before in the turn") {
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

ASYNC_TEST("work that need not suspend completes under an expired limit") {
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

ASYNC_TEST("a shared deadline cancels each step that comes after it") {
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

ASYNC_TEST("a failed future or scope throws its error under an expired limit and in a select") {
  const auto fail = []() -> eddy::task<> {
    throw std::runtime_error("earlier");
    co_return;
  };
  std::string words;
  bool began = false;
  const auto other = [](bool& on) -> eddy::task<> {
    on = true;
    co_return;
  };
  const auto caught = [&words](eddy::task<> work) -> eddy::task<> {
    try {
      co_await std::move(work);
      words += "nothing ";
    } catch (const std::exception& e) {
      words += e.what();
      words += ' ';
    }
  };
  const auto under_limit = [](eddy::future<> f) -> eddy::task<> {
    co_await eddy::timeout(0s, std::move(f));
  };
  const auto selected = [&](eddy::future<> f) -> eddy::task<> {
    co_await eddy::select(std::move(f), other(began));
  };
  const auto joined = [&](bool by_select) -> eddy::task<> {
    eddy::scope s;
    s.spawn(fail());
    co_await eddy::sleep(1ms);
    if (by_select) {
      co_await eddy::select(s.join(), other(began));
    } else {
      co_await eddy::timeout(0s, s.join());
    }
  };
  eddy::future<> first = eddy::spawn(fail());
  eddy::future<> second = eddy::spawn(fail());
  co_await eddy::sleep(1ms);
  REQUIRE(first.ready());
  co_await caught(under_limit(std::move(first)));
  co_await caught(selected(std::move(second)));
  co_await caught(joined(false));
  co_await caught(joined(true));
  CHECK(words == "earlier earlier earlier earlier ");
  CHECK_FALSE(began);
  static_cast<void>(loop);
}

namespace {

/// Runs until `limit` expires, and notes `number` then.
eddy::task<int> limited(int number, std::chrono::milliseconds limit, journal& note) {
  try {
    co_await eddy::timeout(limit, eddy::sleep(1h));
  } catch (const eddy::timed_out&) {
    note(std::to_string(number));
  }
  co_return number;
}

/// Starts `work`, lets `time` pass, and runs the loop.
template <class T>
eddy::future<T> at_once_after(with_still_loop& on, std::chrono::milliseconds time,
                              eddy::task<T> work) {
  eddy::future<T> end = eddy::spawn(on.loop, std::move(work));
  on.loop.run_ready();
  on.clock.advance(time);
  while (on.loop.run_ready()) {
  }
  return end;
}

}  // namespace

TEST_CASE_FIXTURE(with_still_loop,
                  "limits that are due in one turn expire in the order of their deadlines") {
  struct program {
    static eddy::task<> all(journal& note) {
      co_await eddy::join(limited(2, 51ms, note), limited(3, 52ms, note), limited(1, 50ms, note));
    }
    static eddy::task<> first(journal& note) {
      co_await eddy::select(limited(2, 51ms, note), limited(3, 52ms, note), limited(1, 50ms, note));
    }
  };
  journal note;
  CHECK(at_once_after(*this, 52ms, program::all(note)).ready());
  CHECK(note == "1 2 3");
  CHECK(at_once_after(*this, 100ms, program::first(note)).ready());
  CHECK(note == "1 2 3 1");
}

TEST_CASE_FIXTURE(with_still_loop,
                  "an inner limit expires before a longer outer one, even in one turn") {
  struct program {
    static eddy::task<int> spawned(journal& note) {
      co_return co_await eddy::spawn(limited(1, 50ms, note));
    }
    static eddy::task<> both(journal& note, bool spawns) {
      eddy::task<int> within = spawns ? spawned(note) : limited(1, 50ms, note);
      const int end = co_await eddy::timeout(51ms, std::move(within));
      note(end == 1 ? "in time" : "wrong");
    }
  };
  for (const bool spawns : {false, true}) {
    for (const auto passed : {51ms, 55ms, 61ms, 500ms}) {
      CAPTURE(passed.count());
      journal note;
      auto both = at_once_after(*this, passed, program::both(note, spawns));
      CHECK(note == "1 in time");
      REQUIRE(both.ready());
      CHECK(std::move(both).take().has_value());
    }
  }
}

TEST_CASE_FIXTURE(with_still_loop,
                  "of two nested limits with one deadline, the outer one expires first") {
  struct program {
    static eddy::task<> both(journal& note) {
      co_await eddy::timeout(50ms, limited(1, 50ms, note));
    }
  };
  for (const auto passed : {50ms, 55ms, 61ms, 500ms}) {
    CAPTURE(passed.count());
    journal note;
    auto both = at_once_after(*this, passed, program::both(note));
    CHECK(note == "");
    REQUIRE(both.ready());
    CHECK(!std::move(both).take().has_value());
  }
}

TEST_CASE_FIXTURE(with_still_loop,
                  "an outer limit expires before an equal inner one, even if a turn ends between") {
  struct program {
    static eddy::task<> within(eddy::timer& between, eddy::time_point when, journal& note) {
      between.start_at(when, [] { eddy::event_loop::current()->end_turn(); });
      try {
        co_await eddy::timeout_at(when, eddy::sleep(1h));
      } catch (const eddy::timed_out&) {
        note("within");
      }
    }
    static eddy::task<> both(eddy::timer& between, eddy::time_point when, journal& note) {
      co_await eddy::timeout_at(when, within(between, when, note));
    }
  };
  journal note;
  eddy::timer between(loop);
  auto both = at_once_after(*this, 50ms, program::both(between, loop.now() + 50ms, note));
  CHECK(note == "");
  REQUIRE(both.ready());
  CHECK_FALSE(std::move(both).take());
}

TEST_CASE_FIXTURE(with_still_loop, "work resumed by one limit runs before the next limit expires") {
  struct program {
    static eddy::task<> sleep_under(eddy::duration limit) {
      co_await eddy::as_result(eddy::timeout(limit, eddy::sleep(1h)));
    }
    static eddy::task<> in_scope() {
      const auto child = []() -> eddy::task<> {
        co_await sleep_under(50ms);
        co_await eddy::sleep(1h);
      };
      eddy::scope all;
      all.set_deadline(all.loop().now() + 51ms);
      all.spawn(child);
      try {
        co_await all.join();
      } catch (const eddy::timed_out&) {
      }
    }
    static eddy::task<> spawned() {
      co_await sleep_under(51ms);
      co_await eddy::spawn(eddy::sleep(0ms));
    }
    static eddy::task<> yielding() {
      co_await sleep_under(51ms);
      co_await eddy::yield();
    }
    static eddy::task<> reading(int descriptor) {
      co_await sleep_under(51ms);
      co_await eddy::until_readable(descriptor);
    }
    static eddy::task<> work(int kind, int descriptor) {
      switch (kind) {
        case 0: return in_scope();
        case 1: return spawned();
        case 2: return yielding();
        default: return reading(descriptor);
      }
    }
  };
  const socket_pair pair;
  pair.send();
  for (int kind = 0; kind < 4; ++kind) {
    // 54 ms: the loop is 2 ms late for the last limit; otherwise more than 10 ms late.
    for (const auto passed : {54ms, 62ms, 500ms}) {
      CAPTURE(kind);
      CAPTURE(passed.count());
      const eddy::future<> another = eddy::spawn(loop, program::sleep_under(50ms));
      eddy::task<> under_limit = [](int k, int descriptor) -> eddy::task<> {
        co_await eddy::timeout(52ms, program::work(k, descriptor));
      }(kind, pair.near());
      auto end = at_once_after(*this, passed, std::move(under_limit));
      REQUIRE(end.ready());
      CHECK(std::move(end).take());
    }
  }
}

TEST_CASE_FIXTURE(with_still_loop,
                  "300 limits due in one turn each expire after the work of the one before") {
  struct program {
    static eddy::task<> within(eddy::time_point when) {
      co_await eddy::as_result(eddy::timeout_at(when, eddy::sleep(1h)));
      co_await eddy::yield();
    }
    static eddy::task<> pair(eddy::time_point when, int* in_time) {
      const auto end = co_await eddy::as_result(eddy::timeout_at(when + 1us, within(when)));
      if (end) ++*in_time;
    }
  };
  constexpr int many = 300;
  int in_time = 0;
  std::vector<eddy::future<>> all;
  for (int i = 0; i < many; ++i)
    all.push_back(eddy::spawn(loop, program::pair(loop.now() + 2us * i + 1ms, &in_time)));
  loop.run_ready();
  clock.advance(3ms);
  while (loop.run_ready()) {
  }
  CHECK(in_time == many);
}

TEST_CASE_FIXTURE(with_still_loop, "a later deadline that is less late expires later") {
  struct program {
    static eddy::task<int> both(journal& note) {
      co_return co_await eddy::timeout(64ms, limited(1, 50ms, note));
    }
  };
  journal note;
  auto both = at_once_after(*this, 65ms, program::both(note));
  CHECK(note == "1");
  REQUIRE(both.ready());
  CHECK(std::move(both).take() == 1);
}

TEST_CASE_FIXTURE(with_still_loop,
                  "limits cancelled while they are due leave no timer or ready node") {
  for (const auto passed : {52ms, 500ms}) {
    CAPTURE(passed.count());
    journal note;
    eddy::future<> first;
    eddy::future<> second =
        eddy::spawn(loop, [](journal& to) -> eddy::task<> { co_await limited(2, 51ms, to); }(note));
    first = eddy::spawn(loop, [](journal& to, eddy::future<>& other) -> eddy::task<> {
      co_await limited(1, 50ms, to);
      other = {};
    }(note, second));
    loop.run_ready();
    clock.advance(passed);
    while (loop.run_ready()) {
    }
    CHECK(note == "1");
    CHECK(first.ready());
    CHECK(loop.count().timers == 0);
    CHECK(loop.count().ready == 0);
  }
}

TEST_CASE_FIXTURE(with_loop, "a late limit that is cancelled does not keep the loop running") {
  eddy::timer after_half(loop);
  after_half.background(true);
  bool ended_at_once = false;
  // Other threads may take the processor for some ms, hence the attempts.
  for (int attempt = 0; attempt < 50 && !ended_at_once; ++attempt) {
    journal note;
    eddy::future<> work =
        eddy::spawn(loop, [](journal& to) -> eddy::task<> { co_await limited(1, 1ms, to); }(note));
    loop.run_ready();
    const auto until = std::chrono::steady_clock::now() + 20ms;
    while (std::chrono::steady_clock::now() < until) {
    }
    loop.run_ready();
    work = {};
    ended_at_once = true;
    after_half.start(5ms, [&] { ended_at_once = false; });
    loop.run();
    CHECK(loop.count().timers == (ended_at_once ? 1 : 0));
    CHECK(note == "");
  }
  CHECK(ended_at_once);
}
