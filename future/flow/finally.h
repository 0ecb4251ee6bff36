// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <exception>
#include <tuple>
#include <type_traits>
#include <utility>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/task_local_values.h>
#include <eddy/future/flow/join_settled.h>
#include <eddy/future/outcome.h>
#include <eddy/future/scope.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

/// `co_await finally(outer, work, clean_up, limit)` awaits `work`, then `clean_up`, and gives the
/// value of `work`. The clean-up also runs if `work` is cancelled.
///
///     co_await eddy::finally(server, transfer(account), log_out(account), 1s);
///
/// Use `finally` for a clean-up that must suspend, such as sending a last message, and a destructor
/// for any other clean-up. The scope `outer` runs the clean-up, so cancelling the caller, which
/// awaits `finally`, does not cancel the clean-up. The clean-up therefore has to own everything it
/// uses. `work` is destroyed before the clean-up starts.
///
/// Errors: the error of `work`. If `work` succeeds, the error of the clean-up. If both fail, the
/// loop's `run` throws the error of the clean-up. A clean-up that takes longer than `limit` is
/// cancelled and fails with `timed_out`. After the caller is cancelled, an error of the clean-up
/// makes the scope fail, which cancels the scope's other tasks, among them the clean-ups of other
/// callers: a clean-up in a shared scope should handle its errors. If the caller is cancelled
/// during the clean-up and `work` had failed, the loop's `run` throws the error of `work`.
/// Lifetime: the scope must outlive the operation.
/// Cancelling: cancels `work`, and the scope then runs the clean-up. A scope that has failed or is
/// being cancelled destroys the clean-up instead, so choose a scope that outlives the caller. If
/// `work` has not started, the clean-up does not run.
template <class Work, class CleanUp>
  requires std::is_void_v<detail::owned_result_t<CleanUp>>
task<detail::owned_result_t<Work>> finally(scope& outer, Work&& work, CleanUp&& clean_up,
                                           time_span limit);

// implementation

namespace detail {

/// Starts the clean-up in the scope if the work is cancelled.
class clean_up_on_exit {
public:
  clean_up_on_exit(scope* outer, task<>&& work) noexcept
      : outer_(outer), work_(std::move(work)), values_(local_values::here()) {}
  clean_up_on_exit(const clean_up_on_exit&) = delete;
  clean_up_on_exit& operator=(const clean_up_on_exit&) = delete;
  ~clean_up_on_exit();

  /// Gives up the clean-up, which the caller runs. Keeps the error of the work; null if none.
  [[nodiscard]] task<> take(std::exception_ptr error) noexcept {
    error_ = std::move(error);
    return std::move(work_);
  }
  /// Throws the error of the work or, if that is null, of the clean-up, if there is one.
  void rethrow(outcome<void> clean_up);

private:
  scope* outer_;
  task<> work_;
  local_values values_;       // of the work, for the clean-up
  std::exception_ptr error_;  // the work's
};

template <class T>
task<T> finally_in(scope* outer, task<T> work, task<> clean_up) {
  clean_up_on_exit exit(outer, std::move(clean_up));
  std::tuple<outcome<T>> results = co_await join_settled(std::move(work));
  outcome<T>& result = std::get<0>(results);
  task<> last = exit.take(result ? nullptr : result.error());
  std::tuple<outcome<void>> clean = co_await join_settled(outer->finish(std::move(last)));
  exit.rethrow(std::move(std::get<0>(clean)));
  co_return get<T>(std::move(result));
}

}  // namespace detail

template <class Work, class CleanUp>
  requires std::is_void_v<detail::owned_result_t<CleanUp>>
task<detail::owned_result_t<Work>> finally(scope& outer, Work&& work, CleanUp&& clean_up,
                                           time_span limit) {
  auto both = detail::finally_in(
      &outer, detail::as_task(std::forward<Work>(work)),
      detail::as_task(timeout(limit, detail::as_task(std::forward<CleanUp>(clean_up)))));
  detail::task_access::start_at_once(both);
  return both;
}

}  // namespace eddy
