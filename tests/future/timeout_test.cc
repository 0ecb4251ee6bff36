// SPDX-License-Identifier: BSD-2-Clause
// What <eddy/future/timeout.h> promises.
#include <eddy/future/timeout.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <source_location>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/join.h>
#include <eddy/future/promise.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/yield.h>

#include "support/async_test.h"
#include "support/at_end.h"
#include "support/counted.h"
#include "support/journal.h"

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
      co_await eddy::timeout(5s, hold(at_end([=] {
                               (*to)("dropped");
                               *self = {};
                             })));
      (*to)("never");
    }
  };
  waiter = eddy::spawn(loop, program::wait(&waiter, &note));
  loop.run();
  CHECK(note == "dropped");
}

TEST_CASE_FIXTURE(async_fixture, "a time limit may be looked at at any time") {
  struct program {
    static eddy::task<> wait(eddy::event_loop* on) {
      try {
        co_await eddy::timeout(
            5s, hold(at_end([=] { CHECK(on->dump().contains("wait at timeout")); })));
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

TEST_CASE_FIXTURE(tidy, "where no coroutine runs there is no deadline") {
  CHECK_FALSE(eddy::current_deadline());
}
