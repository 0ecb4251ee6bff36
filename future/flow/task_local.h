// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <string>
#include <utility>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/child_wait.h>
#include <eddy/future/detail/frame.h>
#include <eddy/future/detail/task_local_values.h>
#include <eddy/future/task.h>
#include <eddy/loop/description.h>

namespace eddy {

namespace detail {
template <class T, class Result>
class with_operation;
}

/// A key to values that a task, and everything it awaits or spawns, can read.
///
/// A log, for instance, can name the request to which a line belongs:
///
///     const eddy::task_local<std::string> request;
///
///     co_await request.with("GET /", answer(stream));
///     ...
///     if (const std::string* r = request.get()) log(*r);
///
/// A key is usually a constant at namespace scope. Each `with` makes a value for the key.
///
/// A spawned task, also one in a scope, inherits the values that its spawner could read. A value is
/// destroyed as soon as two conditions hold: its `with` has completed, and all tasks that inherited
/// the value, and their futures, are destroyed.
/// Lifetime: the key must outlive every `with` and every task that inherited its values.
/// Threads: any thread may use the key. A coroutine reads only values of its own thread.
template <class T>
class task_local {
public:
  constexpr task_local() noexcept = default;
  task_local(const task_local&) = delete;
  task_local& operator=(const task_local&) = delete;

  /// `co_await key.with(value, work)` awaits `work` with `value` set, and gives the result of
  /// `work`.
  ///
  /// Only `work`, and everything it awaits or spawns, reads `value`. A nested `with` of the same
  /// key hides the outer value.
  /// Errors: the error of `work`; `std::bad_alloc`.
  /// Cancelling: cancels `work`.
  template <class Awaitable>
  detail::with_operation<T, detail::owned_result_t<Awaitable>> with(T value,
                                                                    Awaitable&& work) const {
    return detail::with_operation<T, detail::owned_result_t<Awaitable>>(
        *this, std::move(value), detail::as_task(std::forward<Awaitable>(work)));
  }

  /// The value that the running coroutine can read. Null if there is none, or if no coroutine runs,
  /// for instance in a handler.
  ///
  /// The time is proportional to the number of coroutines between the running one and the nearest
  /// `with`, plus the number of values, of all keys, that the coroutine can read.
  /// Lifetime: the value exists at least until the running coroutine ends.
  [[nodiscard]] const T* get() const noexcept;
};

// implementation

namespace detail {

template <class T>
class local_value final : public local_base {
public:
  local_value(const task_local<T>& name, T&& value) : local_base(&name), held(std::move(value)) {}
  const T held;
};

template <class Result>
class with_wait final : public child_wait<Result> {
public:
  with_wait(local_values&& values, task<Result>&& work) noexcept
      : child_wait<Result>(std::move(work)), values_(std::move(values)) {}

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> by) noexcept {
    return this->begin(by.promise());
  }
  Result await_resume() { return this->child_->get(); }

  void describe(description& to) const override {
    to.add("a task with a task_local value");
    describe_below(to, this->child_);
  }
  void add_to(ambient& all) const noexcept override { all.note(values_); }

private:
  local_values values_;
};

template <class T, class Result>
class [[nodiscard("this does nothing without co_await")]] with_operation {
public:
  with_operation(const task_local<T>& name, T&& value, task<Result>&& work)
      : name_(&name), value_(std::move(value)), work_(std::move(work)) {}
  with_wait<Result> operator co_await() && {
    return with_wait<Result>(local_values(new local_value<T>(*name_, std::move(value_))),
                             std::move(work_));
  }

private:
  const task_local<T>* name_;
  T value_;
  task<Result> work_;
};

}  // namespace detail

template <class T>
const T* task_local<T>::get() const noexcept {
  const detail::local_base* const found = detail::local_values::here().find(this);
  return found == nullptr ? nullptr : &static_cast<const detail::local_value<T>*>(found)->held;
}

}  // namespace eddy
