// SPDX-License-Identifier: BSD-2-Clause
// Scenarios of future/, ended at every point. Scenarios are small, and each wait of the
// library is a point of some scenario.
#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/adapt.h>
#include <eddy/future/as_result.h>
#include <eddy/future/flow/concurrent.h>
#include <eddy/future/flow/join_settled.h>
#include <eddy/future/flow/race_ok.h>
#include <eddy/future/flow/until_event.h>
#include <eddy/future/future.h>
#include <eddy/future/join.h>
#include <eddy/future/promise.h>
#include <eddy/future/run_blocking.h>
#include <eddy/future/select.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/future/until.h>
#include <eddy/future/yield.h>
#include <eddy/loop/timer.h>
#include <eddy/testing/failing_new.h>

#include "support/every_point.h"
#include "support/planned.h"
#include "support/socket_pair.h"

using namespace std::chrono_literals;
using eddy::future;
using eddy::join;
using eddy::promise;
using eddy::sleep;
using eddy::spawn;
using eddy::task;
using eddy::timeout;
using eddy::trial;

namespace {

task<int> deep(trial& t, int depth) {
  const trial::part held(t);
  if (depth == 0) {
    co_await sleep(1s);
    co_return 0;
  }
  auto below = deep(t, depth - 1);
  const int under = co_await std::move(below);
  co_return under + 1;
}

}  // namespace

// ---- task

SCENARIO_TEST("task: no wait") {
  const trial::part held(t);
  co_return;
}

SCENARIO_TEST("task: a chain of awaits") {
  const int depth = co_await deep(t, 8);
  CHECK(depth == 8);
}

SCENARIO_TEST("task: awaits in sequence") {
  for (int i = 0; i < 4; ++i) {
    const int value = co_await after(t, 1s, i);
    CHECK(value == i);
  }
}

SCENARIO_TEST("task: an error passes up a chain") { co_await expect_planned(fail_after(t, 1s)); }

SCENARIO_TEST("task: never awaited") {
  const auto unused = deep(t, 3);
  co_await sleep(1s);
}

SCENARIO_TEST("task: an uncaught error") { co_await fail_after(t, 1s); }

// ---- sleep, yield

SCENARIO_TEST("sleep: zero, 1 ms, and 1 us at fine resolution") {
  const trial::part held(t);
  co_await sleep(0s);
  co_await sleep(1ms);
  co_await sleep(1us, eddy::resolution::fine);
}

SCENARIO_TEST("sleep: four with one deadline") {
  co_await join(wait(t, 1s), wait(t, 1s), wait(t, 1s), wait(t, 1s));
}

SCENARIO_TEST("yield: three in a row") {
  const trial::part held(t);
  for (int i = 0; i < 3; ++i) co_await eddy::yield();
}

// ---- spawn, future, then, promise

SCENARIO_TEST("spawn: awaited at once") {
  auto value = spawn(after(t, 1s, 7));
  const int seven = co_await std::move(value);
  CHECK(seven == 7);
}

SCENARIO_TEST("spawn: awaited after it completed") {
  auto value = spawn(after(t, 1s, 7));
  co_await sleep(2s);
  const int seven = co_await std::move(value);
  CHECK(seven == 7);
}

SCENARIO_TEST("spawn: a function with arguments") {
  auto value = spawn(&deep, std::ref(t), 3);
  const int three = co_await std::move(value);
  CHECK(three == 3);
}

SCENARIO_TEST("spawn: cancelled by the task that spawned it") {
  auto unwanted = spawn(after(t, 3s, 7));
  co_await sleep(1s);
  unwanted = {};
  co_await sleep(1s);
}

SCENARIO_TEST("spawn: fails") { co_await expect_planned(spawn(fail_after(t, 1s))); }

SCENARIO_TEST("spawn: a task spawned within a spawned task") {
  auto outer = spawn(
      [](trial& of) -> task<int> {
        const trial::part held(of);
        auto inner = spawn(after(of, 1s, 1));
        const int one = co_await std::move(inner);
        co_return one + 1;
      },
      std::ref(t));
  const int two = co_await std::move(outer);
  CHECK(two == 2);
}

SCENARIO_TEST("then: a function") {
  auto twice = spawn(after(t, 1s, 7)).then([](int value) { return 2 * value; });
  const int fourteen = co_await std::move(twice);
  CHECK(fourteen == 14);
}

SCENARIO_TEST("then: a chain of functions and tasks") {
  auto value =
      spawn(after(t, 1s, 7)).then([&t](int v) { return after(t, 1s, v + 1); }).then([](int v) {
        return v + 1;
      });
  const int nine = co_await std::move(value);
  CHECK(nine == 9);
}

SCENARIO_TEST("then: an error skips the function") {
  co_await expect_planned(spawn(fail_after(t, 1s)).then([](int v) { return v; }));
}

SCENARIO_TEST("promise: set before it is awaited") {
  promise<int> p;
  auto value = p.get_future();
  p.set_value(3);
  const int three = co_await std::move(value);
  CHECK(three == 3);
}

SCENARIO_TEST("promise: set by a timer's handler") {
  promise<std::string> p;
  auto value = p.get_future();
  eddy::timer later(t.loop());
  later.start(1s, [&] {
    t.runs();
    p.set_value("so");
  });
  const std::string so = co_await std::move(value);
  CHECK(so == "so");
}

SCENARIO_TEST("promise: set to an error by a timer's handler") {
  promise<> p;
  auto value = p.get_future();
  eddy::timer later(t.loop());
  const auto error = std::make_exception_ptr(trial::planned());
  later.start(1s, [&] { p.set_error(error); });
  co_await expect_planned(std::move(value));
}

SCENARIO_TEST("promise: on_cancel is called when the future is destroyed") {
  promise<> p;
  auto stopping = std::make_unique<trial::part>(t);
  p.on_cancel([&] { stopping.reset(); });
  auto value = p.get_future();
  co_await sleep(1s);
  value = {};
  CHECK(stopping == nullptr);
}

// ---- adapt, as_result, until

SCENARIO_TEST("adapt: a timer's callback") {
  eddy::timer later(t.loop());
  auto value = eddy::adapt<int>([&later](auto done) {
    later.start(1s, [done]() mutable { done(5); });
    return [&later] { later.stop(); };
  });
  const int five = co_await std::move(value);
  CHECK(five == 5);
}

SCENARIO_TEST("as_result: an error is a value") {
  auto limited = timeout(1s, wait(t, 2s));
  const auto r = co_await eddy::as_result(std::move(limited));
  CHECK(r.error() == std::errc::timed_out);
}

SCENARIO_TEST("until_hang_up: a peer that hangs up later, beside until_priority") {
  const trial::part held(t);
  socket_pair pair;
  auto hang_up = [](trial& of, socket_pair& p) -> task<> {
    const trial::part part(of);
    co_await sleep(1s);
    p.close_far();
  };
  auto wait = [](trial& of, socket_pair& p) -> task<> {
    const trial::part part(of);
    co_await eddy::until_hang_up(p.near());
  };
  auto urgent = [](trial& of, socket_pair& p) -> task<> {
    const trial::part part(of);
    co_await eddy::until_priority(p.near());
  };
  auto all = join(hang_up(t, pair), wait(t, pair), urgent(t, pair));
  co_await std::move(all);
}

SCENARIO_TEST("until_readable: bytes sent later") {
  const socket_pair pair;
  eddy::timer later(t.loop());
  later.start(1s, [&] { pair.send("x"); });
  co_await eddy::until_readable(pair.near());
  CHECK(pair.receive() == "x");
}

SCENARIO_TEST("until_writable: a full socket emptied later") {
  const socket_pair pair;
  pair.fill();
  eddy::timer later(t.loop());
  later.start(1s, [&] { pair.empty(); });
  co_await eddy::until_writable(pair.near());
}

// ---- run_blocking

SCENARIO_TEST("run_blocking: a value") {
  auto work = eddy::run_blocking([] { return 42; });
  const int value = co_await std::move(work);
  CHECK(value == 42);
}

SCENARIO_TEST("run_blocking: an error") {
  co_await expect_planned(eddy::run_blocking([] { throw trial::planned(); }));
}

// ---- join

SCENARIO_TEST("join: a few") {
  auto all = join(after(t, 2s, 1), after(t, 1s, 2), wait(t, 3s));
  const auto [one, two, nothing] = co_await std::move(all);
  CHECK(one + two == 3);
}

SCENARIO_TEST("join: one fails, the others are cancelled") {
  auto all = join(after(t, 2s, 1), fail_after(t, 1s), after(t, 1s, 2));
  co_await expect_planned(std::move(all));
}

SCENARIO_TEST("join: a range") {
  std::vector<task<int>> tasks;
  for (int i = 0; i < 4; ++i) tasks.push_back(after(t, 1s * (4 - i), i));
  const auto values = co_await join(std::move(tasks));
  CHECK(values.size() == 4);
  for (int i = 0; i < 4; ++i) CHECK(values[i] == i);
}

SCENARIO_TEST("join: an empty range") {
  std::vector<task<int>> tasks;
  const auto values = co_await join(std::move(tasks));
  CHECK(values.empty());
}

SCENARIO_TEST("join: nested, with spawned tasks") {
  auto inner = join(spawn(after(t, 1s, 1)), after(t, 2s, 2));
  auto outer = join(std::move(inner), spawn(after(t, 2s, 3)));
  co_await std::move(outer);
}

SCENARIO_TEST("join_settled: a value and an error") {
  auto all = eddy::join_settled(after(t, 1s, 1), fail_after(t, 2s), wait(t, 3s));
  const auto [value, error, nothing] = co_await std::move(all);
  if (!value) std::rethrow_exception(value.error());  // e.g. std::bad_alloc
  CHECK(*value == 1);
  CHECK(!error.has_value());
}

// ---- timeout

SCENARIO_TEST("timeout: in time") {
  const int value = co_await timeout(2s, after(t, 1s, 3));
  CHECK(value == 3);
}

SCENARIO_TEST("timeout: too late") {
  bool late = false;
  try {
    co_await timeout(1s, after(t, 2s, 3));
  } catch (const std::system_error& e) {
    late = e.code() == std::errc::timed_out;
  }
  CHECK(late);
}

SCENARIO_TEST("timeout: nested, the inner limit first") {
  auto inner = timeout(1s, wait(t, 5s));
  auto outer = timeout(2s, std::move(inner));
  const auto r = co_await eddy::as_result(std::move(outer));
  CHECK(!r);
}

SCENARIO_TEST("timeout: nested, the outer limit first") {
  auto inner = timeout(3s, wait(t, 5s));
  auto outer = timeout(1s, std::move(inner));
  const auto r = co_await eddy::as_result(std::move(outer));
  CHECK(!r);
}

SCENARIO_TEST("timeout: a limit that expires as the work completes") {
  auto limited = timeout(1s, wait(t, 1s));
  const auto r = co_await eddy::as_result(std::move(limited));
  static_cast<void>(r);
}

SCENARIO_TEST("timeout: around a join of spawned tasks") {
  auto both = join(spawn(wait(t, 1s)), spawn(wait(t, 3s)));
  auto limited = timeout(2s, std::move(both));
  const auto r = co_await eddy::as_result(std::move(limited));
  CHECK(!r);
}

// ---- select, race_ok

SCENARIO_TEST("select: the first of two") {
  auto first = eddy::select(after(t, 2s, 1), after(t, 1s, 2));
  auto value = co_await std::move(first);
  CHECK(value.index() == 1);
}

SCENARIO_TEST("select: both complete at the same time") {
  auto first = eddy::select(spawn(after(t, 1s, 1)), spawn(after(t, 1s, 2)));
  auto value = co_await std::move(first);
  static_cast<void>(value);
}

SCENARIO_TEST("select: the first fails") {
  co_await expect_planned(eddy::select(fail_after(t, 1s), after(t, 2s, 2)));
}

SCENARIO_TEST("race_ok: one fails, one succeeds") {
  auto first = eddy::race_ok(fail_after(t, 1s), after(t, 2s, 2));
  try {
    const int two = co_await std::move(first);
    CHECK(two == 2);
  } catch (const eddy::all_failed& e) {
    std::rethrow_exception(e.errors().back());  // e.g. std::bad_alloc
  }
}

SCENARIO_TEST("race_ok: all fail") {
  std::size_t errors = 0;
  try {
    co_await eddy::race_ok(fail_after(t, 1s), fail_after(t, 2s));
  } catch (const eddy::all_failed& e) {
    errors = e.errors().size();
  }
  CHECK(errors == 2);
}

SCENARIO_TEST("select: a range") {
  std::vector<task<int>> tasks;
  for (int i = 0; i < 3; ++i) tasks.push_back(after(t, 3s - 1s * i, i));
  auto first = co_await eddy::select(std::move(tasks));
  CHECK(first.index == 2);
}

// ---- concurrent

SCENARIO_TEST("for_each_concurrent: four items, two at a time") {
  const std::vector<int> numbers{1, 2, 3, 4};
  auto all = eddy::for_each_concurrent(numbers, 2, [&t](int n) { return wait(t, 1s * n); });
  co_await std::move(all);
}

SCENARIO_TEST("map_concurrent: in order") {
  const std::vector<int> numbers{3, 1, 2};
  auto all = eddy::map_concurrent(numbers, 2, [&t](int n) { return after(t, 1s * n, n); });
  const auto values = co_await std::move(all);
  CHECK(values == numbers);
}

SCENARIO_TEST("map_unordered: one fails") {
  const std::vector<int> numbers{3, 1, 2};
  auto all = eddy::map_unordered(
      numbers, 3, [&t](int n) { return n == 2 ? fail_after(t, 2s) : after(t, 1s * n, n); });
  co_await expect_planned(std::move(all));
}
