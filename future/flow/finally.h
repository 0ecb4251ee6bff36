// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <exception>
#include <tuple>
#include <type_traits>
#include <utility>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/inherited.h>
#include <eddy/future/flow/join_settled.h>
#include <eddy/future/outcome.h>
#include <eddy/future/scope.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

/// `co_await finally(outer, work, clean_up, limit)` gives what the work gives,
/// after `clean_up`, which may wait: it runs when the work has ended with a
/// value or an error, and also when it is dropped.
///
///     co_await eddy::finally(server, transfer(account), log_out(account), 1s);
///
/// Destructors are the way to clean up wherever that need not wait. This is for
/// the rest, such as a last message; and since dropping does not wait, it is the
/// scope `outer` that runs it: a caller that goes, before or meanwhile, does not
/// cut it off. So it owns what it uses: its caller may be gone. What goes with
/// the work goes first.
///
/// Errors: what the work throws; if it gave a value, what the clean-up throws.
/// With both, the clean-up's leaves the loop's `run`. If it takes longer than
/// `limit`, it is cancelled, and that is an error with `timed_out`. If the
/// caller is gone, an error is the scope's: the scope fails, and cancels its other
/// children. These may be clean-ups of other callers, so callers that share a scope should
/// return their errors instead of throwing them.
/// Cancelling: drops the work and has the scope clean up. A scope that is being
/// cancelled or has failed can't, and drops the clean-up with the rest: let
/// `outer` be one that ends later. If the work has not begun, there is nothing
/// to clean up.
/// Lifetime: the scope outlives it.
template <class Work, class CleanUp>
  requires std::is_void_v<detail::owned_result_t<CleanUp>>
task<detail::owned_result_t<Work>> finally(scope& outer, Work&& work, CleanUp&& clean_up,
                                           time_span limit);

// implementation

namespace detail {

/// What is left to do for work that is dropped.
class clean_up_on_exit {
public:
  clean_up_on_exit(scope* outer, task<>&& work) noexcept
      : outer_(outer), work_(std::move(work)), values_(local_values::here()) {}
  clean_up_on_exit(const clean_up_on_exit&) = delete;
  clean_up_on_exit& operator=(const clean_up_on_exit&) = delete;
  ~clean_up_on_exit();

  /// The same, with the work's error to be kept.
  [[nodiscard]] task<> take(std::exception_ptr error) noexcept {
    error_ = std::move(error);
    return std::move(work_);
  }
  /// Throws the error that is to come out, if there is one.
  void rethrow(outcome<void> clean_up);

private:
  scope* outer_;
  task<> work_;
  local_values values_;       // that the work has, and the clean-up has, too
  std::exception_ptr error_;  // the work's
};

template <class T>
task<T> finally_in(scope* outer, task<T> work, task<> clean_up) {
  clean_up_on_exit exit(outer, std::move(clean_up));
  std::tuple<outcome<T>> ends = co_await join_settled(std::move(work));
  outcome<T>& end = std::get<0>(ends);
  task<> last = exit.take(end ? nullptr : end.error());
  std::tuple<outcome<void>> clean = co_await join_settled(outer->finish(std::move(last)));
  exit.rethrow(std::move(std::get<0>(clean)));
  co_return get<T>(std::move(end));
}

}  // namespace detail

template <class Work, class CleanUp>
  requires std::is_void_v<detail::owned_result_t<CleanUp>>
task<detail::owned_result_t<Work>> finally(scope& outer, Work&& work, CleanUp&& clean_up,
                                           time_span limit) {
  return detail::finally_in(
      &outer, detail::as_task(std::forward<Work>(work)),
      detail::as_task(timeout(limit, detail::as_task(std::forward<CleanUp>(clean_up)))));
}

}  // namespace eddy
