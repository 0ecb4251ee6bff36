// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <exception>
#include <source_location>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include <eddy/future/detail/current_loop.h>
#include <eddy/future/detail/way_of_error.h>
#include <eddy/future/future.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>

namespace eddy {

/// What a future ends with whose promise went without a word.
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

/// The writing end of a future: it is set once, by any code on the loop's thread.
///
/// Setting it never runs the code that waits; the loop does, later. It may be
/// passed as a handler: called with a `result` it sets the value or the error.
///
/// Destroyed unset, it ends the future with `broken_promise`. The constructor of the value
/// that it is set to must not destroy it.
/// Lifetime: the loop outlives it, unless the future has gone before.
/// Cancelling: when the future is dropped, what `on_cancel` was given is called;
/// setting the promise then does nothing.
template <class T = void>
class promise {
public:
  /// A promise on the loop that is running. `made` is told where its future is
  /// waited for.
  explicit promise(std::source_location made = std::source_location::current());
  explicit promise(event_loop& loop, std::source_location made = std::source_location::current());
  promise(promise&& other) noexcept
      : state_(std::exchange(other.state_, nullptr)), set_(other.set_) {}
  promise& operator=(promise&& other) noexcept {
    promise(std::move(other)).swap(*this);
    return *this;
  }
  ~promise();

  /// The reading end. There is one.
  [[nodiscard]] future<T> get_future();

  template <class... Arguments>
    requires std::constructible_from<outcome<T>, std::in_place_t, Arguments...>
  void set_value(Arguments&&... arguments);
  void set_error(std::exception_ptr error);
  /// An error of the world's, which `co_await` throws as `std::system_error`.
  void set_error(std::error_code error, const std::string& what_was_done = {});

  void operator()(result<T> r)
    requires(!std::is_reference_v<T>);
  void operator()()
    requires std::is_void_v<T>
  {
    set_value();
  }

  /// Calls `stop_work`, at once, when the future is dropped unset. It may
  /// destroy the promise. What it throws leaves the loop's `run`.
  void on_cancel(handler<void()> stop_work);

  /// False once the future has been dropped.
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

/// A `broken_promise`, or what is left of one for want of memory.
[[nodiscard, gnu::cold]] std::exception_ptr broken_promise_error() noexcept;
[[gnu::cold]] void describe_promise(std::string& out, const std::source_location& made);

template <class T>
class promise_state final : public future_state<T> {
public:
  promise_state(event_loop& loop, std::source_location made)
      : future_state<T>(loop, false, 1), made_(made) {}

  using future_core::describe;
  void describe(std::string& out, int) const override { describe_promise(out, made_); }

  future<T> make_future() {
    this->retain();
    return future_access::make<T>(this);
  }

  void set(outcome<T>&& o) {
    if (!this->wanted()) return;
    if (!o) frame::error_is_given(o.error());
    future_state<T>::set(std::move(o));
  }
  /// The value of a detached future is destroyed here, and may own the promise.
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

/// If the future is dropped as well, the loop is told nothing: all of it is cancelled.
template <class T>
void promise<T>::set_cancelled(std::exception_ptr error) noexcept {
  set_error(std::move(error));
  state_->set_seen();
}

template <class T>
future<T> promise<T>::get_future() {
  if (state_ == nullptr || std::exchange(state_->has_future, true)) {
    detail::misuse("promise::get_future was called twice: a promise has one future");
  }
  return state_->make_future();
}

template <class T>
void promise<T>::check_unset() const {
  if (state_ == nullptr || set_) detail::misuse("a promise was set twice");
  if (state_->wanted()) state_->loop().check_thread();
}

template <class T>
void promise<T>::set(outcome<T>&& o) {
  auto& state = *state_;
  state.set(std::move(o));
  set_ = true;
  // It is not needed any more, and what it captured may own this promise.
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
  if (state_ == nullptr) detail::misuse("promise::on_cancel was called on one that was moved from");
  state_->loop().check_thread();
  // What the old one captured may own this promise: it is dropped last.
  const auto old = std::exchange(state_->on_cancel, std::move(stop_work));
}

template <class T>
bool promise<T>::wanted() const noexcept {
  if (state_ == nullptr || !state_->wanted()) return false;
  state_->loop().check_thread();
  return true;
}

}  // namespace eddy
