// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <string>
#include <utility>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/child_wait.h>
#include <eddy/future/detail/frame.h>
#include <eddy/future/detail/inherited.h>
#include <eddy/future/task.h>

namespace eddy {

namespace detail {
template <class T, class Result>
class with_operation;
}

/// A value that holds for a task and for all that it awaits or spawns: a
/// request's number for the log, without handing it down through every call.
///
///     const eddy::task_local<std::string> request;
///
///     co_await request.with("GET /", answer(stream));
///     …
///     if (const std::string* r = request.get()) log(*r);
///
/// It is a name; the values are elsewhere, one for each `with`. Usually it is a
/// constant of a namespace.
///
/// A task that is spawned, also into a scope, inherits the values that held
/// where it was spawned. They live until the last of those tasks has gone.
/// Lifetime: outlives every `with` of it.
/// Threads: each has values of its own.
template <class T>
class task_local {
public:
  constexpr task_local() noexcept = default;
  task_local(const task_local&) = delete;
  task_local& operator=(const task_local&) = delete;

  /// `co_await name.with(value, work)` gives what the work gives; under it, this
  /// value holds, and afterwards again the one that did before.
  /// Errors: what the work throws; `std::bad_alloc`.
  /// Cancelling: cancels the work.
  template <class Awaitable>
  detail::with_operation<T, detail::owned_result_t<Awaitable>> with(T value,
                                                                    Awaitable&& work) const {
    return detail::with_operation<T, detail::owned_result_t<Awaitable>>(
        *this, std::move(value), detail::as_task(std::forward<Awaitable>(work)));
  }

  /// The value that holds for the coroutine that runs; null if there is none, or
  /// no coroutine runs. The awaits are followed upwards to find it: it takes as
  /// long as there are coroutines between here and the nearest `with`.
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

  void describe(std::string& out, int depth) const override {
    out += "a task with a value of its own\n";
    describe_below(out, depth, this->child_);
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
