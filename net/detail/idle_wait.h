// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <exception>
#include <new>
#include <utility>

#include <eddy/future/detail/ambient.h>
#include <eddy/future/detail/child_wait.h>
#include <eddy/future/detail/frame.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/loop/clock.h>
#include <eddy/loop/description.h>
#include <eddy/loop/detail/limit_node.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/ready_node.h>
#include <eddy/loop/timer_node.h>

namespace eddy::detail {

/// The awaiter of a task that is cancelled when it makes no progress for some time.
///
/// As under `timeout`, the awaiting coroutine is resumed as soon as the task has completed: no
/// error of the task lies around meanwhile, which would leave the loop's `run` if the waiter were
/// cancelled. Therefore this is not a `scope` with a deadline.
class idle_wait final : public child_wait<void>, private limit_node {
public:
  /// Stores its address in `self` for as long as it exists.
  idle_wait(event_loop& loop, duration limit, idle_wait*& self, task<>&& work)
      : child_wait(std::move(work)), limit_node(loop, &come), limit_(limit), self_(self) {
    self_ = this;
  }
  ~idle_wait() {
    // The streams of the task may still move bytes while the task is destroyed.
    self_ = nullptr;
  }

  /// Notes that the task has made progress. The limit begins again.
  void restart() noexcept {
    try {
      limit_node::set(timer_node::loop().after(limit_));
      out_of_memory_ = false;
    } catch (const std::bad_alloc&) {
      out_of_memory_ = true;
      timer_node::loop().ready(*this);
    }
  }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> by) {
    limit_node::set(timer_node::loop().after(limit_));
    waiter_ = &by.promise();
    return begin(*waiter_);
  }

  void await_resume() {
    timer_node::clear();
    if (child_ == nullptr) std::rethrow_exception(std::move(error_));
    child_->get();
  }

  void describe(description& to) const override {
    to.add("a task with an idle limit");
    describe_below(to, child_);
  }
  void add_to(ambient& all) const noexcept override { all.note(timer_node::deadline()); }

private:
  static void come(ready_node& node) {
    auto& self = static_cast<idle_wait&>(static_cast<timer_node&>(node));
    if (self.child_->done()) return;  // and the waiter is queued
    if (self.out_of_memory_) {
      self.error_ = std::make_exception_ptr(std::bad_alloc());
    } else {
      if (self.limit_ > duration::zero() && self.gives_way()) return;
      self.error_ = timed_out_of(*self.waiter_, *self.child_, self.limit_);
    }
    // The waiter is resumed once the task is gone, unless the task's destructors drop the waiter.
    self.run_instead(*self.waiter_);
    self.cancel_and_leave();
  }

  duration limit_;
  idle_wait*& self_;
  bool out_of_memory_ = false;
  frame* waiter_ = nullptr;
  std::exception_ptr error_;  // once the limit has expired
};

/// Runs a task under an idle limit, when it is awaited.
class [[nodiscard("this does nothing without co_await")]] idle_operation {
public:
  idle_operation(event_loop& loop, duration limit, idle_wait*& self, task<>&& work) noexcept
      : loop_(loop), limit_(limit), self_(self), work_(std::move(work)) {}
  idle_wait operator co_await() && { return {loop_, limit_, self_, std::move(work_)}; }

private:
  event_loop& loop_;
  duration limit_;
  idle_wait*& self_;
  task<> work_;
};

}  // namespace eddy::detail
