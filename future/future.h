// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <eddy/future/detail/future_state.h>
#include <eddy/future/outcome.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

namespace detail {
struct future_access;
template <class T>
class future_wait;
template <class T, class Function>
struct then_result;
}  // namespace detail

/// A value under way: the reading end of a `promise`, or a task that was spawned.
///
/// Its value is had once: by `co_await`, by `then`, or by `take`. T may be
/// void, a reference, or move-only.
///
/// Errors: the exception that the other end gave comes out of the `co_await`.
/// One that nobody takes, because the future is dropped after it has come,
/// leaves the loop's `run` like an exception from a handler. The `broken_promise` of a
/// promise that was destroyed unset does not: the work behind it was cancelled, and so
/// is the wait. But if a task or `then` has handed that error on, it is theirs, and if the
/// future was detached, it leaves `run`.
/// Lifetime: the loop outlives the future. A task must not await its own future, nor the
/// future of a task that awaits it: neither could end. The `co_await` stops the program. It
/// looks 64 coroutines far, and not through `then`, `shared` and scopes. Tasks whose ring is
/// longer or leads through these wait for ever, and a cancel that would come back to the task
/// that cancels stops the program.
/// Cancelling: destroying the future cancels the work behind it. While that happens, a
/// destructor in the work must not destroy the coroutine that holds the future, unless that
/// coroutine is running, or is itself being cancelled.
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

  /// Whether it stands for a value: not moved from, and not taken.
  [[nodiscard]] explicit operator bool() const noexcept { return state_ != nullptr; }

  /// Whether the value, or the error, is there.
  [[nodiscard]] bool ready() const noexcept {
    if (state_ == nullptr) return false;
    state_->loop().check_thread();
    return state_->ready();
  }

  /// How it ended. It has to be ready.
  [[nodiscard]] outcome<T> take() &&;

  /// Waits for the value. One waits, once.
  detail::future_wait<T> operator co_await() && noexcept;

  /// Lets the work go on by itself, with nobody to see its end: the loop owns
  /// it then, and drops it when it is itself destroyed. An error leaves the
  /// loop's `run`. A `scope` is nearly always better.
  void detach() &&;

  /// Has the loop call `function` with the value when it is there; what that
  /// returns is the new future's. Where it returns an awaitable in turn, the
  /// new future is that one's value, and the function lives until that is there: a
  /// lambda that captures may be a coroutine.
  ///
  /// A function that declares an `outcome<T>` as its parameter is called in every case.
  /// Other functions run only with a value, generic ones too, such as a lambda with
  /// `auto` or what `std::bind_front` gives; errors skip them.
  /// Errors: an exception that leaves `function` is the new future's.
  /// Cancelling: destroying the new future cancels all that is behind it.
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

}  // namespace eddy

#include <eddy/future/detail/future_impl.h>
