// SPDX-License-Identifier: BSD-2-Clause
// Scenarios of owners (scope, shared, retry …), ended at every point.
#include <chrono>
#include <csignal>
#include <exception>
#include <functional>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/flow/finally.h>
#include <eddy/future/flow/interval.h>
#include <eddy/future/flow/retry.h>
#include <eddy/future/flow/shared.h>
#include <eddy/future/flow/stop_token.h>
#include <eddy/future/flow/task_local.h>
#include <eddy/future/join.h>
#include <eddy/future/scope.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/future/until.h>
#include <eddy/future/with_scope.h>
#include <eddy/loop/timer.h>

#include "support/every_point.h"
#include "support/planned.h"

using namespace std::chrono_literals;
using eddy::join;
using eddy::sleep;
using eddy::spawn;
using eddy::task;
using eddy::timeout;
using eddy::trial;

// ---- scope, stop_token, finally, task_local

SCENARIO_TEST("scope: joined") {
  eddy::scope children;
  for (int i = 1; i <= 3; ++i) children.spawn(wait(t, 1s * i));
  co_await children.join();
}

SCENARIO_TEST("scope: a limit of one child at a time") {
  eddy::scope children(1);
  for (int i = 1; i <= 3; ++i) children.spawn(wait(t, 1s));
  co_await children.join();
}

SCENARIO_TEST("scope: destroyed while children run") {
  eddy::scope children;
  for (int i = 1; i <= 3; ++i) children.spawn(wait(t, 1s * i));
  co_await sleep(1s);
}

SCENARIO_TEST("scope: a child fails") {
  eddy::scope children;
  children.spawn(wait(t, 3s));
  children.spawn(expect_planned(fail_after(t, 1s)));
  children.spawn([](trial& of) -> task<> { co_await fail_after(of, 2s); }, std::ref(t));
  auto joined = [](eddy::scope& s) -> task<> { co_await s.join(); }(children);
  co_await expect_planned(std::move(joined));
}

SCENARIO_TEST("scope: finish") {
  eddy::scope children;
  auto finished = children.finish(after(t, 1s, 4));
  const int value = co_await std::move(finished);
  CHECK(value == 4);
}

SCENARIO_TEST("stop_token: work that stops on request") {
  eddy::stop_source source;
  eddy::scope children;
  children.spawn(
      [](trial& of, eddy::stop_token stop) -> task<> {
        const trial::part held(of);
        co_await stop;
      },
      std::ref(t), source.token());
  co_await sleep(1s);
  source.request_stop();
  co_await children.join();
}

SCENARIO_TEST("scope: children that complete before its deadline") {
  eddy::scope children;
  children.set_deadline(t.loop().now() + 5s);
  children.spawn(wait(t, 1s));
  children.spawn(wait(t, 3s));
  co_await children.join();
}

SCENARIO_TEST("with_scope: a body and a child") {
  auto body = [](eddy::scope& s, trial& of) -> task<int> {
    s.spawn(wait(of, 2s));
    const int value = co_await after(of, 1s, 3);
    co_return value;
  };
  auto work = eddy::with_scope(body, std::ref(t));
  const int three = co_await std::move(work);
  CHECK(three == 3);
}

SCENARIO_TEST("finally: a clean-up that suspends") {
  eddy::scope outer;
  auto work = eddy::finally(outer, after(t, 1s, 5), wait(t, 1s), 3s);
  const int five = co_await std::move(work);
  CHECK(five == 5);
}

SCENARIO_TEST("task_local: read in an awaited and in a spawned task") {
  static const eddy::task_local<int> number;
  auto look = [](trial& of) -> task<> {
    const trial::part held(of);
    co_await sleep(1s);
    CHECK(*number.get() == 7);
  };
  auto both = [](trial& of, auto what) -> task<> {
    auto spawned = spawn(what(of));
    co_await what(of);
    co_await std::move(spawned);
  };
  auto work = number.with(7, both(t, look));
  co_await std::move(work);
}

SCENARIO_TEST("until_signal: a signal raised later") {
  eddy::timer later(t.loop());
  later.start(1s, [] { ::raise(SIGUSR1); });
  co_await eddy::until_signal(SIGUSR1);
}

// ---- retry, shared, interval

SCENARIO_TEST("shared: two waiters") {
  const eddy::shared<int> value(after(t, 1s, 5));
  auto one = [](eddy::shared<int> of) -> task<int> {
    const int got = co_await of;
    co_return got;
  };
  auto both = join(one(value), one(value));
  const auto [first, second] = co_await std::move(both);
  CHECK(first + second == 10);
}

SCENARIO_TEST("shared: one waiter is cancelled, the other gets the value") {
  const eddy::shared<int> value(after(t, 2s, 5));
  auto one = [](eddy::shared<int> of) -> task<int> {
    const int got = co_await of;
    co_return got;
  };
  auto impatient = timeout(1s, one(value));
  const auto none = co_await eddy::as_result(std::move(impatient));
  CHECK(!none);
  const int five = co_await value;
  CHECK(five == 5);
}

SCENARIO_TEST("shared: two waiters of an error") {
  const eddy::shared<int> value(spawn(fail_after(t, 1s)));
  auto one = [](eddy::shared<int> of) -> task<> {
    try {
      co_await of;
    } catch (const trial::planned&) {
    }
  };
  auto both = join(one(value), one(value));
  co_await std::move(both);
}

SCENARIO_TEST("retry: the third attempt succeeds") {
  int calls = 0;
  auto work = [&]() -> task<int> {
    const trial::part held(t);
    co_await sleep(1s);
    if (++calls < 3) throw trial::planned();
    co_return calls;
  };
  auto any = [](const std::exception_ptr&) { return true; };
  const eddy::retry_policy policy{.jitter = false, .limit = 1h};
  const int n = co_await eddy::retry(policy, work, any);
  CHECK(n == 3);
}

SCENARIO_TEST("interval: three ticks") {
  eddy::interval every(1s);
  for (int i = 0; i < 3; ++i) {
    const auto due = co_await every.next();
    CHECK(due == t.clock().now());
  }
}
