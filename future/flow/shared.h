// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <type_traits>
#include <utility>

#include <eddy/future/awaitable.h>
#include <eddy/future/flow/detail/shared_state.h>
#include <eddy/future/future.h>
#include <eddy/loop/detail/counted.h>

namespace eddy {

template <class T>
class shared;

namespace detail {
template <class A>
inline constexpr bool is_shared = false;
template <class T>
inline constexpr bool is_shared<shared<T>> = true;
}  // namespace detail

/// A copyable handle to one result, which any number of coroutines may await, any number of times.
///
///     const eddy::shared page(fetch(address));
///     const std::string& text = co_await page;
///
/// A `shared` made of a task starts the task at the first `co_await`. A `shared` made of a future,
/// for instance the one that `spawn` returns, holds work that has started already.
///
/// `co_await` gives a `const T&` that is valid as long as any handle exists. For a `T&` it gives
/// that reference, and for void nothing. Waiters resume in the order in which they began to wait.
///
/// Errors: every waiter gets the exception. If no coroutine got the exception before the last
/// handle is destroyed, the loop's `run` throws the exception, also if the work itself destroys
/// that handle. A `broken_promise` that no coroutine got is ignored.
/// Lifetime: the loop of the first `co_await` must outlive the work. Handles may outlive that loop
/// unless they hold an error that no coroutine got: the program then aborts.
/// Cancelling: destroying the last handle cancels the work. A suspended waiter counts as a handle.
template <class T = void>
class [[nodiscard("a shared does nothing until a copy of it is awaited")]] shared {
public:
  using value_type = T;

  /// Takes over a task, a future or another awaitable, which gives a `T`.
  /// Errors: `std::bad_alloc`.
  template <awaitable Awaitable>
    requires(!std::is_lvalue_reference_v<Awaitable> && !detail::is_shared<Awaitable> &&
             std::same_as<await_result_t<Awaitable>, T>)
  explicit shared(Awaitable&& work) {
    if constexpr (std::same_as<Awaitable, future<T>>) {
      state_ = state(new detail::shared_state<T>(std::forward<Awaitable>(work)));
    } else {
      state_ = state(new detail::shared_state<T>(detail::as_task(std::forward<Awaitable>(work))));
    }
  }

  /// Whether the work has completed, with a value or an error. False for a moved-from handle.
  [[nodiscard]] bool ready() const noexcept { return state_ && state_->ready(); }

  detail::shared_wait<T> operator co_await() const noexcept {
    return detail::shared_wait<T>(state_);
  }

private:
  using state = detail::counted_ptr<detail::shared_core>;

  state state_;
};

template <awaitable Awaitable>
  requires(!detail::is_shared<std::remove_cvref_t<Awaitable>>)
shared(Awaitable&&) -> shared<await_result_t<Awaitable>>;

}  // namespace eddy
