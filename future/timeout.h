// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <string>
#include <utility>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/frame.h>
#include <eddy/future/outcome.h>
#include <eddy/future/spawn.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer_node.h>

namespace eddy {

namespace detail {
template <class T>
class timeout_operation;
}

/// `co_await timeout(5s, work)` gives what the work gives, if it ends in time.
///
/// The time counts from the `co_await`. What has ended when the time is over
/// has won.
///
/// Errors: `std::system_error` with `timed_out`, and the work is cancelled by
/// then; what the work throws.
/// Cancelling: cancels the work.
template <awaitable Awaitable>
  requires(!std::is_lvalue_reference_v<Awaitable>)
[[nodiscard]] detail::timeout_operation<await_result_t<Awaitable>> timeout(duration limit,
                                                                           Awaitable&& work) {
  return detail::timeout_operation<await_result_t<Awaitable>>(
      limit, detail::as_task(std::forward<Awaitable>(work)));
}

// implementation

namespace detail {

[[noreturn]] void throw_timed_out(duration limit);

template <class T>
class timeout_wait final : public wait, private timer_node {
public:
  timeout_wait(duration limit, task<T>&& work)
      : timer_node(current_loop("timeout"), &expire),
        limit_(limit),
        child_(&task_access::release(work).promise()) {}
  ~timeout_wait() { cancel(); }

  [[nodiscard]] bool await_ready() const noexcept { return false; }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> by) {
    timer_node::set_after(limit_);
    waiter_ = &by.promise();
    waiter_->waits_for(*this);
    if (!child_->start(*waiter_)) return true;
    waiter_->waits_no_more();
    return false;
  }

  T await_resume() {
    timer_node::clear();
    if (child_ == nullptr) throw_timed_out(limit_);
    return child_->get();
  }

  void describe(std::string& out, int depth) const override {
    out += "a task with a time limit\n";
    describe_below(out, depth, child_);
  }
  [[nodiscard]] frame* child() const noexcept override { return child_; }
  void destroy_child() noexcept override { std::exchange(child_, nullptr)->handle().destroy(); }

private:
  static void expire(ready_node& node) {
    auto& self = static_cast<timeout_wait&>(static_cast<timer_node&>(node));
    if (self.child_->done()) return;  // and the waiter is on its way
    // The waiter goes on when the work is gone, and not at all if that drops it.
    self.timer_node::loop().ready(*self.waiter_);
    self.cancel();
  }

  void cancel() noexcept {
    if (child_ != nullptr) frame::destroy(*std::exchange(child_, nullptr));
  }

  duration limit_;
  frame* waiter_ = nullptr;
  task_promise<T>* child_;
};

template <class T>
class [[nodiscard]] timeout_operation {
public:
  timeout_operation(duration limit, task<T>&& work) noexcept
      : limit_(limit), work_(std::move(work)) {}
  timeout_wait<T> operator co_await() && { return timeout_wait<T>(limit_, std::move(work_)); }

private:
  duration limit_;
  task<T> work_;
};

}  // namespace detail

}  // namespace eddy
