// SPDX-License-Identifier: BSD-2-Clause
// Tests that a coroutine which cancels itself ends at its next co_await, for every awaitable of
// future/.
#include "support/cancels_itself.h"

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <eddy/future/adapt.h>
#include <eddy/future/as_result.h>
#include <eddy/future/flow/concurrent.h>
#include <eddy/future/flow/finally.h>
#include <eddy/future/flow/interval.h>
#include <eddy/future/flow/join_settled.h>
#include <eddy/future/flow/race_ok.h>
#include <eddy/future/flow/retry.h>
#include <eddy/future/flow/shared.h>
#include <eddy/future/flow/stop_token.h>
#include <eddy/future/flow/task_local.h>
#include <eddy/future/join.h>
#include <eddy/future/promise.h>
#include <eddy/future/run_blocking.h>
#include <eddy/future/scope.h>
#include <eddy/future/select.h>
#include <eddy/future/sleep.h>
#include <eddy/future/timeout.h>
#include <eddy/future/until.h>
#include <eddy/future/with_scope.h>
#include <eddy/future/yield.h>

#include "support/async_test.h"
#include "support/forked.h"
#include "support/socket_pair.h"

using namespace std::chrono_literals;
using eddy::as_result;
using eddy::task;

namespace {

task<int> value() { co_return 7; }
task<> nothing() { co_return; }
task<> failure() {
  throw std::system_error(std::make_error_code(std::errc::io_error));
  co_return;
}
task<> body_of_scope(eddy::scope& s) {
  s.spawn(nothing());
  co_return;
}
/// Work of a `finally`, which needs a scope that outlives its waiter.
task<> finish(eddy::scope* outer) { co_await eddy::finally(*outer, nothing(), nothing(), 1s); }

eddy::future<int> ready_value(eddy::event_loop& loop) {
  eddy::promise<int> p(loop);
  eddy::future<int> f = p.get_future();
  p.set_value(7);
  return f;
}

/// An awaiter that is not eddy's, and is ready.
struct ready_awaiter {
  bool await_ready() const noexcept { return true; }
  void await_suspend(std::coroutine_handle<>) const noexcept {}
  void await_resume() const noexcept {}
};

/// An awaitable that cannot make its awaiter.
struct refusal {
  ready_awaiter operator co_await() const {
    throw std::system_error(std::make_error_code(std::errc::io_error));
  }
};

template <class Awaitable>
std::vector<Awaitable> list(Awaitable one) {
  std::vector<Awaitable> all;
  all.push_back(std::move(one));
  return all;
}

}  // namespace

TEST_CASE_FIXTURE(
    async_fixture,
    "a coroutine that cancels itself ends at its next co_await, even if that is ready") {
  cancels_itself check(loop);

  check.ready("a task", [] { return value(); });
  check.ready("a task that fails", [] { return failure(); });
  check.ready("a future with a value", [&] { return ready_value(loop); });
  check.ready("a sleep of zero", [] { return eddy::sleep(0s); });
  check.ready("a sleep_until", [&] { return eddy::sleep_until(loop.now()); });
  check.ready("an exact sleep", [] { return eddy::sleep(0s, eddy::resolution::fine); });
  check.completes("yield", [] { return eddy::yield(); });
  check.ready("join", [] { return eddy::join(value(), nothing()); });
  check.ready("join of a range", [] { return eddy::join(list(value())); });
  check.ready("join of an empty range", [] { return eddy::join(std::vector<task<>>()); });
  check.ready("select", [] { return eddy::select(value(), nothing()); });
  check.ready("select of a range", [] { return eddy::select(list(value())); });
  check.ready("timeout", [] { return eddy::timeout(1s, value()); });
  check.ready("an external awaiter", [] { return ready_awaiter(); });
  check.ready("adapt", [] {
    return eddy::adapt([](eddy::completer<> done) {
      done();
      return 0;  // nothing to cancel
    });
  });
  check.completes("with_scope", [] { return eddy::with_scope(&body_of_scope); });
  check.completes("run_blocking", [] { return eddy::run_blocking([] { return 7; }); });

  eddy::scope none(loop);
  check.ready("the join of an empty scope", [&] { return none.join(); });
  check.completes("scope::finish", [&] { return none.finish(value()); });

  const socket_pair pair;
  pair.send();
  check.completes("until_readable", [&] { return eddy::until_readable(pair.near()); });
  check.completes("until_writable", [&] { return eddy::until_writable(pair.near()); });
  check.completes("until_readable of no descriptor", [] { return eddy::until_readable(-1); });
  check.ready("until_signal of no signal", [] { return eddy::until_signal(SIGKILL); });
  check.ready("until_exit of no child", [] { return eddy::until_exit(::getpid()); });
}

TEST_CASE_FIXTURE(async_fixture, "as_result is no way around the end of a cancelled coroutine") {
  cancels_itself check(loop);

  check.ready("a task that fails", [] { return as_result(failure()); });
  check.ready("a future with a value", [&] { return as_result(ready_value(loop)); });
  check.ready("timeout", [] { return as_result(eddy::timeout(1s, failure())); });
  check.ready("an external awaiter", [] { return as_result(ready_awaiter()); });
  check.ready("an operation that cannot start", [] { return as_result(eddy::until_signal(0)); });
  check.ready("an awaitable without an awaiter", [] { return as_result(refusal()); });
}

TEST_CASE_FIXTURE(async_fixture, "a coroutine that cancels itself ends at a co_await of flow/") {
  cancels_itself check(loop);

  check.ready("join_settled", [] { return eddy::join_settled(value(), failure()); });
  check.ready("race_ok", [] { return eddy::race_ok(value(), value()); });
  check.ready("for_each_concurrent", [] {
    return eddy::for_each_concurrent(std::vector{1, 2}, 1, [](int) { return nothing(); });
  });
  check.ready("for_each_concurrent of nothing", [] {
    return eddy::for_each_concurrent(std::vector<int>(), 1, [](int) { return nothing(); });
  });
  check.ready("map_concurrent", [] {
    return eddy::map_concurrent(std::vector{1, 2}, 1, [](int) { return value(); });
  });
  check.ready("retry", [] { return eddy::retry({}, [] { return value(); }); });
  const eddy::task_local<int> key;
  check.ready("task_local::with", [&] { return key.with(1, value()); });

  const eddy::shared<int> done(value());
  check.completes("a shared that has not begun", [&] { return eddy::shared(done); });
  check.ready("a shared with its result", [&] { return eddy::shared(done); });

  eddy::stop_source source(loop);
  source.request_stop();
  check.ready("a stop_token", [&] { return source.token(); });
  std::stop_source standard;
  standard.request_stop();
  check.completes("until_stopped", [&] { return eddy::until_stopped(standard.get_token()); });

  eddy::scope outer(loop);
  check.completes("finally", [&] { return finish(&outer); });

  std::optional<eddy::interval> overdue;
  loop.defer([&] { overdue.emplace(1s, eddy::missed_ticks::burst); });
  loop.run();
  clock.advance(10s);
  check.ready("interval::next", [&] { return overdue->next(); });
}
