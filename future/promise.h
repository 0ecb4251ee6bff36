// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <exception>
#include <source_location>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include <eddy/future/detail/await_trail.h>
#include <eddy/future/future.h>
#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>

namespace eddy {

/// The error of a future whose promise was destroyed before a value or an error was set.
class broken_promise : public std::logic_error {
public:
  broken_promise() : std::logic_error("the promise was destroyed before it was set") {}
};

namespace detail {
template <class T>
class promise_state;
template <class T>
class finish_promise;
}  // namespace detail

/// The writing end of a future: code on the loop's thread sets a value or an error, once.
///
/// The loop resumes the waiter later, never inside the call that sets the promise. A promise may be
/// passed as a handler that takes a `result`. A promise that is destroyed unset gives its future
/// the error `broken_promise`. The constructor of the value must not destroy the promise.
/// Lifetime: the loop must outlive the promise, unless the future was destroyed before.
/// Cancelling: destroying the future calls the function that was given to `on_cancel`. Setting the
/// promise then does nothing.
template <class T = void>
class promise {
public:
  /// Makes a promise on the running loop. Dumps and deadlock reports show the location `made`.
  explicit promise(std::source_location made = std::source_location::current());
  /// Makes a promise on `loop`. Dumps and deadlock reports show the location `made`.
  explicit promise(event_loop& loop, std::source_location made = std::source_location::current());
  promise(promise&& other) noexcept
      : state_(std::exchange(other.state_, nullptr)), set_(other.set_) {}
  promise& operator=(promise&& other) noexcept {
    promise(std::move(other)).swap(*this);
    return *this;
  }
  ~promise();

  /// Returns the reading end. A second call aborts the program.
  [[nodiscard]] future<T> get_future();

  /// Completes the future with a T that is constructed from `arguments`.
  template <class... Arguments>
    requires std::constructible_from<outcome<T>, std::in_place_t, Arguments...>
  void set_value(Arguments&&... arguments);
  /// Completes the future with an exception, which `co_await` throws. `error` must not be null.
  void set_error(std::exception_ptr error);
  /// Completes the future with a `std::system_error` of `error`, whose text begins with
  /// `what_was_done`.
  void set_error(std::error_code error, const std::string& what_was_done = {});

  /// Completes the future with the value or the error in `r`.
  void operator()(result<T> r)
    requires(!std::is_reference_v<T>);
  void operator()()
    requires std::is_void_v<T>
  {
    set_value();
  }

  /// Sets a function that is called if the future is destroyed before the promise is set.
  ///
  /// The future's destructor calls `stop_work`, which may destroy the promise. An exception of
  /// `stop_work` is thrown from the loop's `run`.
  void on_cancel(handler<void()> stop_work);

  /// False if the future was destroyed before the promise was set. Setting then has no effect.
  [[nodiscard]] bool wanted() const noexcept;

private:
  template <class>
  friend class detail::finish_promise;

  void check_unset() const;
  void set(outcome<T>&& o);
  void set_cancelled(std::exception_ptr error) noexcept;
  void swap(promise& other) noexcept {
    std::swap(state_, other.state_);
    std::swap(set_, other.set_);
  }

  detail::promise_state<T>* state_;
  bool set_ = false;
};

// implementation

namespace detail {

/// A `broken_promise`; without memory for one, a `std::bad_alloc`.
[[nodiscard, gnu::cold]] std::exception_ptr broken_promise_error() noexcept;
[[gnu::cold]] void describe_promise(description& to, const std::source_location& made);

template <class T>
class promise_state final : public future_state<T> {
public:
  promise_state(event_loop& loop, std::source_location made)
      : future_state<T>(loop, false, 1), made_(made) {}

  void describe_awaited(description& to) const override { describe_promise(to, made_); }

  future<T> make_future() {
    this->retain();
    return future_access::make<T>(this);
  }

  void set(outcome<T>&& o) {
    if (!this->wanted()) return;
    if (!o) frame::error_is_given(o.error());
    future_state<T>::set(std::move(o));
  }
  /// Queues the waiter. This destroys the value of a detached future, which may own the promise.
  void tell() noexcept {
    if (this->wanted()) this->complete();
  }

  void drop_promise() noexcept { this->release(); }
  using future_core::set_seen;
  using future_state<T>::wanted;

  handler<void()> on_cancel;
  bool has_future = false;

private:
  void cancel() noexcept override {
    if (!on_cancel) return;
    try {
      std::exchange(on_cancel, nullptr)();
    } catch (...) {
      this->loop().raise(std::current_exception());
    }
  }

  std::source_location made_;
};

}  // namespace detail

template <class T>
promise<T>::promise(std::source_location made) : promise(detail::current_loop("promise"), made) {}

template <class T>
promise<T>::promise(event_loop& loop, std::source_location made)
    : state_(new detail::promise_state<T>(loop, made)) {}

template <class T>
promise<T>::~promise() {
  if (state_ == nullptr) return;
  if (!set_ && state_->has_future && state_->wanted()) {
    set_cancelled(detail::broken_promise_error());
  }
  state_->drop_promise();
}

/// Sets an error that does not leave `run` if the future is destroyed: the work was cancelled.
template <class T>
void promise<T>::set_cancelled(std::exception_ptr error) noexcept {
  set_error(std::move(error));
  state_->set_seen();
}

template <class T>
future<T> promise<T>::get_future() {
  if (state_ == nullptr || std::exchange(state_->has_future, true)) {
    detail::misuse("promise::get_future was called twice, or on a promise that was moved from");
  }
  return state_->make_future();
}

template <class T>
void promise<T>::check_unset() const {
  if (state_ == nullptr || set_)
    detail::misuse("a promise was set twice, or after it was moved from");
  if (state_->wanted()) state_->loop().check_thread();
}

template <class T>
void promise<T>::set(outcome<T>&& o) {
  auto& state = *state_;
  state.set(std::move(o));
  set_ = true;
  // The captures of on_cancel may own this promise: they are destroyed last.
  const auto last = std::exchange(state.on_cancel, nullptr);
  state.tell();
}

template <class T>
template <class... Arguments>
  requires std::constructible_from<outcome<T>, std::in_place_t, Arguments...>
void promise<T>::set_value(Arguments&&... arguments) {
  check_unset();
  set(outcome<T>(std::in_place, std::forward<Arguments>(arguments)...));
}

template <class T>
void promise<T>::set_error(std::exception_ptr error) {
  detail::expect_error(error, "promise::set_error");
  check_unset();
  set(outcome<T>(std::unexpect, std::move(error)));
}

template <class T>
void promise<T>::set_error(std::error_code error, const std::string& what_was_done) {
  detail::expect_error(error, "promise::set_error");
  set_error(detail::as_exception(error, what_was_done));
}

template <class T>
void promise<T>::operator()(result<T> r)
  requires(!std::is_reference_v<T>)
{
  if (!r) {
    set_error(r.error());
  } else if constexpr (std::is_void_v<T>) {
    set_value();
  } else {
    set_value(std::move(*r));
  }
}

template <class T>
void promise<T>::on_cancel(handler<void()> stop_work) {
  if (state_ == nullptr)
    detail::misuse("promise::on_cancel was called on a promise that was moved from");
  state_->loop().check_thread();
  // The captures of the old function may own this promise: they are destroyed last.
  const auto old = std::exchange(state_->on_cancel, std::move(stop_work));
}

template <class T>
bool promise<T>::wanted() const noexcept {
  if (state_ == nullptr || !state_->wanted()) return false;
  state_->loop().check_thread();
  return true;
}

}  // namespace eddy
