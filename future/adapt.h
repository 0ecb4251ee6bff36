// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <coroutine>
#include <exception>
#include <expected>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

#include <eddy/future/detail/frame.h>
#include <eddy/future/outcome.h>
#include <eddy/loop/description.h>
#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/result.h>

namespace eddy {

namespace detail {
template <class T>
class adapted;
template <class T, class Start>
class adaptation;

template <class T>
inline constexpr bool may_be_error =
    std::same_as<T, std::error_code> || std::same_as<T, std::exception_ptr>;
template <class T, class E>
inline constexpr bool may_be_error<std::expected<T, E>> = true;

/// Whether `Arguments` make a T and are no error. A bool could be made from many errors.
template <class T, class... Arguments>
concept makes_value =
    std::constructible_from<outcome<T>, std::in_place_t, Arguments...> &&
    (sizeof...(Arguments) != 1 || ((std::same_as<std::remove_cvref_t<Arguments>, T> ||
                                    !may_be_error<std::remove_cvref_t<Arguments>>) &&
                                   ...));

template <class T, class U>
concept gives_result =
    !std::is_reference_v<T> && !std::same_as<T, std::expected<U, std::error_code>> &&
    (std::is_void_v<T> ? std::is_void_v<U> : std::convertible_to<U, T>);
}  // namespace detail

/// Completes the wait of an `adapt`. The callback of the adapted API calls the completer.
///
/// A completer is a pointer that can be copied. Only one call is allowed, from any of the copies,
/// on the loop's thread, and none after the wait was cancelled. The loop resumes the coroutine
/// later, never inside the call.
template <class T = void>
class completer {
public:
  /// Completes the wait with a T that is constructed from `arguments`.
  ///
  /// An error is not made into a T: a single `std::error_code`, `std::exception_ptr` or
  /// `std::expected` is accepted only if T is that type. If the constructor of T throws, this call
  /// throws too, and the wait goes on. The constructor must not complete or cancel the wait.
  template <class... Arguments>
    requires detail::makes_value<T, Arguments...>
  void operator()(Arguments&&... arguments) const;

  /// Completes the wait with the value or the error in `r`.
  template <class U>
    requires detail::gives_result<T, U>
  void operator()(std::expected<U, std::error_code> r) const;
  void operator()(std::unexpected<std::error_code> e) const { fail(e.error()); }

  /// Completes the wait with the value or the exception in `o`.
  void complete(outcome<T> o) const;

  /// Completes the wait with an exception, which `co_await` throws. `error` must not be null.
  void fail(std::exception_ptr error) const;
  /// Completes the wait with a `std::system_error` of `error`, whose text begins with
  /// `what_was_done`.
  void fail(std::error_code error, const std::string& what_was_done = {}) const;

  /// The completer as a `void*`, for the argument of a C callback.
  [[nodiscard]] void* pointer() const noexcept { return adapted_; }
  /// The completer that returned this `void*` from `pointer()`.
  [[nodiscard]] static completer from(void* pointer) noexcept {
    return completer(static_cast<detail::adapted<T>*>(pointer));
  }

private:
  friend detail::adapted<T>;

  explicit completer(detail::adapted<T>* a) noexcept : adapted_(a) {}

  detail::adapted<T>* adapted_;
};

/// Makes a callback API awaitable: `co_await adapt<T>(start)` gives a T.
///
///     const auto start = [&loop](completer<void> done) {
///       timer t(loop);
///       t.start(1s, [done] { done(); });
///       return t;
///     };
///     co_await adapt(start);
///
/// The `co_await` calls `start` with a completer, which the API's callback has to call. `start`
/// returns a way to cancel: either a function without arguments, which is called if the wait is
/// cancelled before it completes; or an object such as a `timer`, which is destroyed when the wait
/// ends, and whose destructor cancels. After that call or destructor, the API must not use the
/// completer: test this with `every_point` and AddressSanitizer. Use a `promise` for an API that
/// can't cancel. Name a lambda that captures, as here: g++ 12 destroys the captures twice if the
/// lambda is written inside the `co_await`. `adapt` allocates no memory.
///
/// `start` may have two further members. `std::string describe() const` says in a few words what
/// the coroutine waits for; `event_loop::dump` calls it. `void give_back(T value)`, without a
/// parameter if T is void, gets the value of a wait that is cancelled after it completed and before
/// the coroutine resumed. `give_back` returns the value to its source, such as the front of a
/// queue, and must not throw. eddy cancels concurrent waits from the last to the first, so values
/// that return to the front keep their order.
///
/// Errors: if a failed wait is cancelled before the coroutine resumes, `run` throws the error.
template <class T = void, class Start>
detail::adaptation<T, Start> adapt(Start start) {
  return detail::adaptation<T, Start>(std::move(start));
}

// implementation

namespace detail {

template <class T>
class adapted : public suspension {
public:
  adapted() noexcept : loop_(&current_loop("adapt")) {}

  // The outcome is made in place: g++ warns of an uninitialized member where an outcome that is
  // known to be a value is moved.
  template <class... Arguments>
  void complete(Arguments&&... of_outcome) {
    loop_->check_thread();
    if (result_) misuse("a completer was called twice");
    result_.emplace(std::forward<Arguments>(of_outcome)...);
    if (waiter_ != nullptr) loop_->ready(*waiter_);
  }

protected:
  ~adapted() = default;
  [[nodiscard]] completer<T> make_completer() noexcept { return completer<T>(this); }
  [[nodiscard]] event_loop& loop() const noexcept { return *loop_; }

  std::optional<outcome<T>> result_;
  frame* waiter_ = nullptr;

private:
  event_loop* loop_;
};

template <class Start, class T>
concept returns_cancel =
    requires(Start& start, completer<T> done) { requires !std::is_void_v<decltype(start(done))>; };

template <class Start>
concept has_describe = requires { &Start::describe; };
template <class Start>
concept describes = requires(const Start& start, description& to) { to.add(start.describe()); };

template <class T, class Start>
class adapted_wait final : public adapted<T> {
  using cancel = std::invoke_result_t<Start&, completer<T>>;

public:
  explicit adapted_wait(Start&& start) : start_(std::move(start)) {}
  ~adapted_wait() {
    if (this->result_) {
      give_back();
    } else if constexpr (std::is_invocable_v<cancel&>) {
      if (cancel_) (*cancel_)();
    }
  }

  [[nodiscard]] bool await_ready() const noexcept { return false; }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> by) {
    struct made {
      adapted_wait& self;
      operator cancel() { return self.start_(self.make_completer()); }
    };
    if (frame::dropped()) {
      by.promise().waits_for(*this);
      return true;
    }
    cancel_.emplace(made{*this});
    if (this->result_ && frame::may_go_on()) return false;
    this->waiter_ = &by.promise();
    this->waiter_->waits_for(*this);
    if (this->result_) current_loop("adapt").ready(*this->waiter_);
    return true;
  }

  T await_resume() {
    delivered_ = true;
    return get<T>(std::move(*this->result_));
  }

  void describe(description& to) const override {
    if constexpr (describes<Start>) {
      to.add(start_.describe());
    } else {
      to.add("a callback");
    }
  }

private:
  void give_back() noexcept {
    if (delivered_) return;
    if (!*this->result_) return this->loop().raise(std::move(this->result_->error()));
    if constexpr (std::is_void_v<T>) {
      if constexpr (requires { start_.give_back(); }) start_.give_back();
    } else {
      if constexpr (requires { start_.give_back(get<T>(std::move(*this->result_))); }) {
        start_.give_back(get<T>(std::move(*this->result_)));
      }
    }
  }

  Start start_;
  bool delivered_ = false;
  std::optional<cancel> cancel_;
};

template <class T, class Start>
class [[nodiscard("this does nothing without co_await")]] adaptation {
  static_assert(returns_cancel<Start, T>,
                "start must take a completer and return how to cancel: if nothing can cancel, use "
                "a promise");
  static_assert(!has_describe<Start> || describes<Start>,
                "describe must be a const member without parameters that returns a std::string");

public:
  explicit adaptation(Start&& start) : start_(std::move(start)) {}
  auto operator co_await() && {
    if constexpr (returns_cancel<Start, T>) {
      return adapted_wait<T, Start>(std::move(start_));
    } else {
      return std::suspend_never();  // so that no other error follows
    }
  }

private:
  Start start_;
};

}  // namespace detail

template <class T>
template <class... Arguments>
  requires detail::makes_value<T, Arguments...>
void completer<T>::operator()(Arguments&&... arguments) const {
  adapted_->complete(std::in_place, std::forward<Arguments>(arguments)...);
}

template <class T>
template <class U>
  requires detail::gives_result<T, U>
void completer<T>::operator()(std::expected<U, std::error_code> r) const {
  if (!r) {
    fail(r.error());
  } else if constexpr (std::is_void_v<T>) {
    (*this)();
  } else {
    (*this)(std::move(*r));
  }
}

template <class T>
void completer<T>::complete(outcome<T> o) const {
  adapted_->complete(std::move(o));
}

template <class T>
void completer<T>::fail(std::exception_ptr error) const {
  detail::expect_error(error, "completer::fail");
  adapted_->complete(std::unexpect, std::move(error));
}

template <class T>
void completer<T>::fail(std::error_code error, const std::string& what_was_done) const {
  detail::expect_error(error, "completer::fail");
  fail(detail::as_exception(error, what_was_done));
}

}  // namespace eddy
