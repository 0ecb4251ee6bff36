// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>

#include <eddy/future/detail/external_awaiter.h>
#include <eddy/future/detail/frame.h>
#include <eddy/future/outcome.h>
#include <eddy/loop/detail/misuse.h>

namespace eddy {

namespace detail {
template <class T>
class task_promise;
template <class T>
class task_wait;
struct task_access;
}  // namespace detail

/// The return type of a coroutine: lazy work that gives a T.
///
///     task<int> twice(int n) { co_return 2 * n; }
///     const int four = co_await twice(2);
///
/// The body starts only when the task is awaited, or given to `spawn`, `block_on` or a combinator.
/// Each of these takes the task over: move a named task, as in `co_await std::move(t)`. T may be
/// void, an lvalue reference or a move-only type.
///
/// Errors: `co_await` throws an exception that leaves the coroutine.
/// Lifetime: the coroutine owns arguments that it takes by value. Arguments that it takes by
/// reference must outlive the coroutine; a local of the awaiting coroutine does.
/// Cancelling: destroying the task, or its later owner, destroys the suspended coroutine: first all
/// that the coroutine awaits, then its locals. The coroutine sees no exception.
template <class T = void>
class [[nodiscard("a task does nothing without co_await or spawn")]] task {
public:
  using promise_type = detail::task_promise<T>;
  using value_type = T;

  task(task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  task& operator=(task&& other) noexcept {
    const task old(std::exchange(handle_, std::exchange(other.handle_, nullptr)));
    return *this;
  }
  ~task() {
    if (handle_) detail::frame::destroy(handle_.promise());
  }

  /// False after the task was moved from or awaited.
  [[nodiscard]] explicit operator bool() const noexcept { return handle_ != nullptr; }

  /// Starts the task and runs it to its first suspension. Then suspends the awaiting coroutine.
  ///
  /// The awaiting coroutine resumes when the task completes. If it has had its share of the turn's
  /// operations, the task starts in the next turn, so that what the task takes is never lost.
  detail::task_wait<T> operator co_await() && noexcept;

private:
  friend promise_type;
  friend detail::task_access;
  explicit task(std::coroutine_handle<promise_type> handle) noexcept : handle_(handle) {}

  std::coroutine_handle<promise_type> handle_;
};

/// Returns how many coroutines of type `task` exist in this process, suspended, running or not
/// started.
/// Threads: any.
[[nodiscard]] inline std::size_t frame_count() noexcept { return detail::frame::count(); }

// implementation

namespace detail {

struct task_access {
  template <class T>
  static std::coroutine_handle<task_promise<T>> release(task<T>& t) noexcept {
    if (!t.handle_) misuse("a task was awaited twice, or after it was moved from");
    return std::exchange(t.handle_, nullptr);
  }
  /// Has the task start when it is awaited, even if its awaiter has had its share of the turn, or
  /// of the stack.
  static void start_at_once(const auto& t) noexcept {
    t.handle_.promise().arrive_at(__builtin_source_location());
  }
};

template <class T>
class returns : public frame {
public:
  template <class U = T>
    requires std::constructible_from<typename stored<T>::type, U>
  void return_value(U&& value) {
    value_.emplace(std::forward<U>(value));
    end_with_value();
  }

  /// Returns the value, or throws the exception.
  T get() {
    if (error() != nullptr) std::rethrow_exception(std::move(error()));
    return static_cast<T&&>(*std::move(value_));
  }
  outcome<T> take() {
    if (error() != nullptr) return outcome<T>(std::unexpect, std::move(error()));
    return outcome<T>(std::in_place, *std::move(value_));
  }

protected:
  /// Called at the final suspension, which a coroutine without a `co_return` also reaches.
  void check_end() const noexcept {
    if (!value_ && !failed()) ended_without_value(place_before_end());
  }

private:
  std::optional<typename stored<T>::type> value_;
};

template <>
class returns<void> : public frame {
public:
  void return_void() noexcept { end_with_value(); }

  void get() {
    if (error() != nullptr) std::rethrow_exception(std::move(error()));
  }
  outcome<void> take() {
    if (error() != nullptr) return outcome<void>(std::unexpect, std::move(error()));
    return {};
  }

protected:
  void check_end() const noexcept {}
};

template <class T>
class task_promise : public returns<T> {
public:
  task<T> get_return_object() noexcept {
    static_assert(alignof(task_promise) == alignof(frame),
                  "a coroutine's frame can't hold a value that is aligned to more than 8 bytes");
    return task<T>(std::coroutine_handle<task_promise>::from_promise(*this));
  }

  std::suspend_always initial_suspend() const noexcept { return {}; }

  auto final_suspend() const noexcept {
    this->check_end();
    struct awaiter {
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<task_promise> h) const noexcept {
        h.promise().finish();
      }
      void await_resume() const noexcept {}
    };
    return awaiter();
  }

  void unhandled_exception() noexcept { this->end_with_error(); }

  template <class Awaitable>
    requires(!std::is_scalar_v<Awaitable>)
  decltype(auto) await_transform(Awaitable&& awaitable,
                                 const void* where = __builtin_source_location()) {
    this->arrive_at(where);
    return own_awaiter(std::forward<Awaitable>(awaitable));
  }
  /// Takes a scalar by value, so that it need not be an object in the frame.
  template <class Awaitable>
    requires std::is_scalar_v<Awaitable>
  decltype(auto) await_transform(Awaitable awaitable,
                                 const void* where = __builtin_source_location()) {
    this->arrive_at(where);
    return own_awaiter(std::move(awaitable));
  }
};

template <class T>
class [[nodiscard]] task_wait final : public child_owner {
public:
  explicit task_wait(std::coroutine_handle<task_promise<T>> child) noexcept
      : child_owner(child.promise()) {}

  bool await_ready() const noexcept { return false; }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> by) noexcept {
    frame& parent = by.promise();
    parent.waits_for(*this);
    return !child_->start(parent) || parent.stops_here();
  }

  T await_resume() { return static_cast<task_promise<T>*>(child_)->get(); }
};

template <class T>
inline constexpr bool is_own_awaiter<task_wait<T>> = true;

}  // namespace detail

template <class T>
detail::task_wait<T> task<T>::operator co_await() && noexcept {
  return detail::task_wait<T>(detail::task_access::release(*this));
}

}  // namespace eddy
