// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <eddy/future/detail/future_access.h>
#include <eddy/future/detail/future_state.h>
#include <eddy/future/detail/future_wait.h>
#include <eddy/future/detail/then.h>
#include <eddy/future/outcome.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

/// The reading end of a value that arrives later, from a `promise` or a spawned task.
///
/// The value can be taken once, by `co_await`, `then` or `take`. T may be void, a reference or a
/// move-only type.
///
/// Errors: `co_await` throws the exception of the task or the promise. If an error has arrived, and
/// nobody has taken it when the future is destroyed, the error is thrown from the loop's `run`. A
/// `broken_promise` is thrown from `run` only if the future was detached, or if a task or a `then`
/// passed the error on.
/// Lifetime: the loop must outlive the future. A task must not await its own future, nor the future
/// of a task that awaits it: see the traps in future/README.md.
/// Cancelling: destroying the future cancels the work that would produce the value. A destructor in
/// that work must not destroy the coroutine that holds the future, unless this coroutine runs or is
/// being cancelled itself.
template <class T = void>
class [[nodiscard("destroying a future cancels its work: co_await, keep or detach it")]] future {
public:
  using value_type = T;

  future() noexcept = default;
  future(future&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  future& operator=(future&& other) noexcept {
    future(std::move(other)).swap(*this);
    return *this;
  }
  ~future() {
    if (state_ != nullptr) state_->drop_future();
  }

  /// False after the future was moved from, awaited, taken, detached or given to `then`.
  [[nodiscard]] explicit operator bool() const noexcept { return state_ != nullptr; }

  /// Whether the value or the error has arrived. False for a future that is moved from.
  [[nodiscard]] bool ready() const noexcept {
    if (state_ == nullptr) return false;
    state_->loop().check_thread();
    return state_->ready();
  }

  /// Returns the value or the error without waiting. Aborts if the future is not `ready`.
  [[nodiscard]] outcome<T> take() &&;

  /// Suspends the coroutine until the value or the error arrives. A `co_await` on another loop than
  /// the future's aborts the program.
  detail::future_wait<T> operator co_await() && noexcept;

  /// Hands the work to the loop, which owns it from now on and ignores its value. Prefer a `scope`.
  ///
  /// Errors: an error of the work is thrown from the loop's `run`.
  /// Cancelling: destroying the loop cancels the work.
  void detach() &&;

  /// Returns a future for the result of `function`, which the loop calls with this future's value.
  ///
  /// If `function` returns an awaitable, the new future gets the value of that awaitable, and
  /// `function` lives until then: it may be a coroutine lambda with captures. A function whose
  /// parameter is declared as `outcome<T>` is also called for an error. Other functions, such as a
  /// lambda with an `auto` parameter, are called only for a value; an error goes to the new future.
  /// Errors: an exception that leaves `function` goes to the new future.
  /// Cancelling: destroying the new future cancels the work of both futures.
  template <class Function>
  auto then(Function function) && -> future<typename detail::then_result<T, Function>::type>;

private:
  template <class>
  friend class promise;
  friend detail::future_access;

  explicit future(detail::future_state<T>* state) noexcept : state_(state) {}
  void swap(future& other) noexcept { std::swap(state_, other.state_); }

  detail::future_state<T>* state_ = nullptr;
};

// implementation

template <class T>
outcome<T> future<T>::take() && {
  if (!ready()) detail::misuse("future::take was called on a future that is not ready");
  const future<T> taken = std::move(*this);  // which the value's move may drop
  return taken.state_->take();
}

template <class T>
void future<T>::detach() && {
  detail::future_access::release(*this)->detach();
}

template <class T>
detail::future_wait<T> future<T>::operator co_await() && noexcept {
  return detail::future_wait<T>(detail::future_access::release(*this));
}

template <class T>
template <class Function>
auto future<T>::then(
    Function function) && -> future<typename detail::then_result<T, Function>::type> {
  if (state_ == nullptr)
    detail::misuse("future::then was called on a future that was moved from or awaited");
  state_->loop().check_thread();
  return detail::future_access::make<typename detail::then_result<T, Function>::type>(
      new detail::then_state<T, Function>(std::move(*this), std::move(function)));
}

}  // namespace eddy
