// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <stop_token>

#include <eddy/future/flow/detail/stop_state.h>
#include <eddy/future/task.h>
#include <eddy/loop/detail/counted.h>
#include <eddy/loop/detail/handler_slot.h>
#include <eddy/loop/detail/wait_list.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/ready_node.h>

namespace eddy {

/// Tells a task that it should finish: complete the current request, for instance, and take no
/// more.
///
///     while (!stop.stop_requested()) {
///       ...
///     }
///     co_await stop;  // completes when the stop is requested, or at once if it was before
///
/// A stop request cancels nothing: the task decides where to end. To cancel a task, destroy it.
///
/// All copies of a token show the same request. A token may outlive its `stop_source`; if all
/// copies of the source are destroyed without a request, `co_await` never completes.
/// Waiters resume in the order in which they began to wait.
///
/// Cancelling: a cancelled wait has no effect on the token or on its other waiters.
class stop_token {
public:
  [[nodiscard]] bool stop_requested() const noexcept { return state_->requested(); }

  detail::stop_wait operator co_await() const noexcept { return detail::stop_wait(state_); }

private:
  friend class stop_source;
  friend class stop_callback;
  explicit stop_token(const detail::counted_ptr<detail::stop_state>& state) noexcept
      : state_(state) {}

  detail::counted_ptr<detail::stop_state> state_;
};

/// Requests a stop. All tokens of this source and of its copies report the request.
///
/// Lifetime: the loop must outlive the source, and every wait for one of its tokens. The tokens may
/// outlive the source and the loop.
class stop_source {
public:
  /// Makes a source on the running loop. Aborts if no loop runs.
  /// Errors: `std::bad_alloc`.
  stop_source();
  /// Makes a source on `loop`.
  /// Errors: `std::bad_alloc`.
  explicit stop_source(event_loop& loop);

  /// Requests the stop. The loop then runs the waiters and the callbacks; none of them runs inside
  /// this call. A second request has no effect.
  void request_stop() noexcept { state_->request(); }
  [[nodiscard]] bool stop_requested() const noexcept { return state_->requested(); }

  [[nodiscard]] stop_token token() const noexcept { return stop_token(state_); }

private:
  detail::counted_ptr<detail::stop_state> state_;
};

/// Calls a handler once, from the loop, after the stop of a token is requested.
///
/// If the stop was requested before the `stop_callback` was made, the loop calls the handler from
/// its ready queue. The handler may destroy the `stop_callback`.
///
/// Cancelling: destroy the `stop_callback`; the handler is then not called.
class stop_callback : private ready_node {
public:
  stop_callback(const stop_token& token, handler<void()> on_stop);
  ~stop_callback() { state_->check_thread(); }

private:
  static void run(ready_node& node);

  detail::counted_ptr<detail::stop_state> state_;
  detail::wait_node node_;
  detail::handler_slot<> handler_;
};

/// `co_await until_stopped(token)` completes when any thread requests the stop of a
/// `std::stop_token`.
///
/// In this way a `std::jthread` and a coroutine can obey the same `std::stop_source`. The wait
/// keeps the loop running.
///
/// Errors: `std::bad_alloc`.
/// Cancelling: a cancelled wait has no effect on the token or on its other waiters.
task<> until_stopped(std::stop_token token);

}  // namespace eddy
