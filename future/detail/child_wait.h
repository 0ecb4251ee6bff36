// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <utility>

#include <eddy/future/detail/frame.h>
#include <eddy/future/task.h>

namespace eddy::detail {

/// An awaiter that owns one task and adds something to the await, such as a time limit.
template <class T>
class child_wait : public suspension {
public:
  [[nodiscard]] bool await_ready() const noexcept { return false; }

  [[nodiscard]] frame* child() const noexcept final { return child_; }
  void destroy_child() noexcept final { std::exchange(child_, nullptr)->end(); }

protected:
  explicit child_wait(task<T>&& work) noexcept : child_(&task_access::release(work).promise()) {}
  ~child_wait() { cancel(); }

  /// Starts the task. True if `waiter` has to suspend.
  bool begin(frame& waiter) noexcept { return !start(waiter) || waiter.stops_here(); }
  /// Starts the task. True if the task has completed at once.
  bool start(frame& waiter) noexcept {
    waiter.waits_for(*this);
    return child_->start(waiter);
  }

  void cancel() noexcept {
    if (child_ != nullptr) frame::destroy(*std::exchange(child_, nullptr));
  }

  /// Cancels the task from the loop, where a destructor in the task may destroy this awaiter.
  void cancel_and_leave() noexcept {
    if (child_ != nullptr) frame::destroy_and_leave(*std::exchange(child_, nullptr));
  }

  task_promise<T>* child_;  // null if it was cancelled
};

}  // namespace eddy::detail
