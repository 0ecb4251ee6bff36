// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <expected>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/frame.h>
#include <eddy/loop/result.h>

namespace eddy {

namespace detail {
template <class Awaitable>
class as_result_operation;
}

/// `co_await as_result(operation)` gives a `result` instead of throwing `std::system_error`.
///
/// Socket operations and `timeout` then fail without any throw. The `result` also holds the error
/// of an operation that could not start. `co_await` still throws exceptions of other types. An
/// operation that gives a reference does not compile.
template <class Awaitable>
  requires(!std::is_reference_v<detail::owned_result_t<Awaitable>>)
detail::as_result_operation<std::remove_reference_t<Awaitable>> as_result(Awaitable&& operation) {
  using owned = std::remove_reference_t<Awaitable>;
  return detail::as_result_operation<owned>(static_cast<owned&&>(operation));
}

// implementation

namespace detail {

template <class Awaitable>
class as_result_wait {
public:
  using value = await_result_t<Awaitable>;

  explicit as_result_wait(Awaitable&& a) {
    try {
      inner_.emplace(made{a});
      if constexpr (requires { inner_->be_quiet(); }) inner_->be_quiet();
    } catch (const std::system_error& e) {
      error_ = e.code();
    }
  }
  as_result_wait(const as_result_wait&) = delete;
  as_result_wait& operator=(const as_result_wait&) = delete;

  [[nodiscard]] bool await_ready() {
    try {
      return inner_ && inner_->await_ready();
    } catch (const std::system_error& e) {
      could_not_begin(e);
      return false;
    }
  }

  template <class Promise>
  auto await_suspend(std::coroutine_handle<Promise> by) {
    using answer = decltype(inner_->await_suspend(by));
    using handle = std::coroutine_handle<>;
    constexpr bool gives_handle = std::is_convertible_v<answer, handle>;
    // The error is the result. A coroutine that was dropped must not take it.
    const auto complete_with_error = [&by] {
      frame& waiter = by.promise();
      const bool suspended = waiter.waits_its_turn();
      if constexpr (gives_handle) {
        return suspended ? handle(std::noop_coroutine()) : handle(by);
      } else {
        return suspended;
      }
    };
    if (!inner_) return complete_with_error();
    try {
      if constexpr (gives_handle) {
        return handle(inner_->await_suspend(by));
      } else if constexpr (std::is_void_v<answer>) {
        inner_->await_suspend(by);
        return true;
      } else {
        return inner_->await_suspend(by);
      }
    } catch (const std::system_error& e) {
      could_not_begin(e);
      return complete_with_error();
    }
  }

  result<value> await_resume() {
    if (!inner_) return std::unexpected(error_);
    if constexpr (requires { inner_->await_result(); }) {
      return inner_->await_result();
    } else {
      if constexpr (requires { inner_->quiet_error(); }) {
        if (const std::error_code e = inner_->quiet_error()) return std::unexpected(e);
      }
      try {
        if constexpr (std::is_void_v<value>) {
          inner_->await_resume();
          return {};
        } else {
          return inner_->await_resume();
        }
      } catch (const std::system_error& e) {
        return std::unexpected(e.code());
      }
    }
  }

private:
  using inner = std::remove_cvref_t<decltype(own_awaiter(std::declval<Awaitable>()))>;

  // So that it is made in its place: it can't be moved.
  struct made {
    Awaitable& from;
    operator inner() { return own_awaiter(std::move(from)); }
  };

  void could_not_begin(const std::system_error& e) noexcept {
    inner_.reset();
    error_ = e.code();
  }

  std::optional<inner> inner_;
  std::error_code error_;  // if there is none: it could not be begun
};

template <class Awaitable>
inline constexpr bool is_own_awaiter<as_result_wait<Awaitable>> = true;

template <class Awaitable>
class [[nodiscard("this does nothing without co_await")]] as_result_operation {
public:
  explicit as_result_operation(Awaitable&& a) noexcept : awaitable_(std::move(a)) {}
  as_result_wait<Awaitable> operator co_await() && {
    return as_result_wait<Awaitable>(std::move(awaitable_));
  }

private:
  Awaitable awaitable_;
};

}  // namespace detail

}  // namespace eddy
