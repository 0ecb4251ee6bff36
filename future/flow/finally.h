// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <exception>
#include <type_traits>
#include <utility>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/branch.h>
#include <eddy/future/detail/join_state.h>
#include <eddy/future/detail/task_local_values.h>
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
/// the returned task has not been awaited, neither `work` nor the clean-up runs.
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

/// Awaits a task that starts even if the caller has had its share of the turn. Moves no value: the
/// move could cancel the caller between the work and the clean-up.
class settled_wait_base : public join_state {
public:
  /// A separate class because g++ 12 copies an awaiter that has a name.
  class awaiter {
  public:
    explicit awaiter(settled_wait_base& wait) noexcept : wait_(wait) {}

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> by) noexcept {
      wait_.wait_from_now(by.promise());
      wait_.begin(*wait_.first(), true);
      return wait_.has_to_wait();
    }
    void await_resume() noexcept { wait_.told_ = true; }

  private:
    settled_wait_base& wait_;
  };

  awaiter operator co_await() & noexcept { return awaiter(*this); }

protected:
  settled_wait_base() noexcept : join_state(until::all_ended) {}
  ~settled_wait_base() = default;
};

template <>
inline constexpr bool is_own_awaiter<settled_wait_base::awaiter> = true;

template <class T>
class settled_wait final : public settled_wait_base {
public:
  explicit settled_wait(task<T>&& work) noexcept : branch_(std::move(work)) { add(branch_); }
  ~settled_wait() { drop_all(); }

  [[nodiscard]] outcome<T>& result() noexcept { return *branch_.result; }

private:
  branch<T> branch_;
};

template <class T>
task<T> finally_in(scope* outer, task<T> work, task<> clean_up) {
  clean_up_on_exit exit(outer, std::move(clean_up));
  settled_wait<T> running(std::move(work));
  co_await running;
  outcome<T>& result = running.result();
  settled_wait<void> cleaning(outer->finish(exit.take(result ? nullptr : result.error())));
  co_await cleaning;
  exit.rethrow(std::move(cleaning.result()));
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
