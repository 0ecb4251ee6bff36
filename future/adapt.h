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

#include <eddy/future/detail/current_loop.h>
#include <eddy/future/detail/frame.h>
#include <eddy/future/outcome.h>
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

/// Whether a T can be made of `Arguments`, and these are no error: a bool can be made of many.
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

/// What a callback calls to end the wait that `adapt` began: a pointer that can
/// be copied, also through the `void*` of a C library.
///
/// It is called once, on the loop's thread, and not after the wait was
/// cancelled. The coroutine goes on later, from the loop, never inside the call.
template <class T = void>
class completer {
public:
  /// The wait ends with a value, which is made of `arguments`. An `error_code`, an
  /// `exception_ptr` or an `expected` is taken only if T is that type. An exception
  /// that is thrown while the value is made leaves the call, and the wait goes on.
  /// The value's constructor must not end the wait.
  template <class... Arguments>
    requires detail::makes_value<T, Arguments...>
  void operator()(Arguments&&... arguments) const;

  /// It ends with a value or an error, whichever that is.
  template <class U>
    requires detail::gives_result<T, U>
  void operator()(std::expected<U, std::error_code> r) const;
  void operator()(std::unexpected<std::error_code> e) const { fail(e.error()); }

  /// It ends as something else has ended.
  void complete(outcome<T> o) const;

  /// It ends with an error, which `co_await` throws.
  void fail(std::exception_ptr error) const;
  void fail(std::error_code error, const std::string& what_was_done = {}) const;

  [[nodiscard]] void* pointer() const noexcept { return adapted_; }
  [[nodiscard]] static completer from(void* pointer) noexcept {
    return completer(static_cast<detail::adapted<T>*>(pointer));
  }

private:
  friend detail::adapted<T>;

  explicit completer(detail::adapted<T>* a) noexcept : adapted_(a) {}

  detail::adapted<T>* adapted_;
};

/// Makes a callback API awaitable: `co_await adapt<T>(start)`.
///
/// When it is awaited, `start` is called with the `completer` that the API's
/// callback has to call, and returns how to cancel: a function without
/// arguments, called if the wait is dropped before its end; or an object, such
/// as a `timer`, that cancels when it is destroyed. It is kept until then. No
/// memory is allocated. A cancel that does not keep the callback away from the
/// completer is a use after free: prove one with `every_point`, under ASan.
///
///     const auto start = [&loop](completer<void> done) {
///       timer t(loop);
///       t.start(1s, [done] { done(); });
///       return t;
///     };
///     co_await adapt(start);
///
/// A lambda with captures needs a name, as here: g++ 12 destroys one that is written
/// inside a `co_await` expression twice.
///
/// `start` may have a `void describe(std::string& out) const`, which adds a line
/// that says what is waited for: `event_loop::dump` asks it.
///
/// A wait that has been completed may still be dropped before the coroutine goes
/// on, such as the loser of a `select`. What was taken for it would be lost. So
/// `start` may have a `void give_back(T value)`, or a `void give_back()` for void,
/// which is called then: a channel's puts the message back to the front of its
/// queue, or hands it to the next one who waits. The messages are in their order again
/// then, because eddy drops what began last first: in a `select`, say, or a `scope`.
/// `give_back` must not throw. An error that is not delivered leaves the loop's `run`.
///
/// For an API that can't be cancelled, use a `promise`: that may be set though
/// nobody waits any more.
template <class T = void, class Start>
detail::adaptation<T, Start> adapt(Start start) {
  return detail::adaptation<T, Start>(std::move(start));
}

// implementation

namespace detail {

template <class T>
class adapted : public wait {
public:
  adapted() noexcept : loop_(&current_loop("adapt")) {}

  // The outcome is made in its place: g++ warns of a member that is uninitialized where
  // one that is known to be a value is moved.
  template <class... Arguments>
  void complete(Arguments&&... of_outcome) {
    loop_->check_thread();
    if (result_) misuse("what adapt waits for was completed twice");
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

  void describe(std::string& out, int) const override {
    if constexpr (requires { start_.describe(out); }) {
      start_.describe(out);
    } else {
      out += "a callback\n";
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
