// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>

#include <eddy/future/detail/frame.h>
#include <eddy/future/detail/suspension.h>
#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/detail/wait_list.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

namespace detail {
class event_operation;
class event_wait;
}  // namespace detail

/// Is set or not. Tasks wait until it is set.
///
///     eddy::event ready;
///     ...
///     co_await ready.wait();  // completes when, or if, somebody calls ready.set()
///
/// Lifetime: the loop must outlive the event, and the event its waiters: an event that is destroyed
/// earlier aborts the program.
class event {
public:
  /// Makes an event on the running loop, which is not set. Aborts if no loop runs.
  event() noexcept : event(detail::current_loop("event")) {}
  /// Makes an event on `loop`, which is not set.
  explicit event(event_loop& loop) noexcept : loop_(&loop) {}
  event(const event&) = delete;
  event& operator=(const event&) = delete;
  ~event();

  /// Sets the event. All waiters complete, also if it is reset before they resume; the loop runs
  /// them later, in the order in which they began to wait.
  void set() noexcept;
  /// Makes later waits wait again.
  void reset() noexcept;
  [[nodiscard]] bool is_set() const noexcept {
    loop_->check_thread();
    return set_;
  }

  /// `co_await e.wait()` suspends the coroutine until the event is set.
  ///
  /// Cancelling: has no effect on the event or on its other waiters.
  detail::event_operation wait() noexcept;

private:
  friend detail::event_wait;

  event_loop* loop_;
  detail::wait_list waiters_;
  bool set_ = false;
};

// implementation

namespace detail {

class event_wait final : public suspension {
public:
  explicit event_wait(event& of) noexcept : of_(&of) {}

  [[nodiscard]] bool await_ready() const noexcept {
    check_loop();
    return of_->set_ && frame::may_go_on();
  }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> by) noexcept {
    frame& waiter = by.promise();
    waiter.waits_for(*this);
    if (of_->set_) return of_->loop_->ready(waiter);
    of_->waiters_.add(node_, waiter, *of_->loop_);
  }

  void await_resume() const noexcept {}

  void describe(description& to) const override;

private:
  void check_loop() const noexcept;

  event* of_;
  wait_node node_;
};

class [[nodiscard("this does nothing without co_await")]] event_operation {
public:
  explicit event_operation(event& of) noexcept : of_(&of) {}
  event_wait operator co_await() const noexcept { return event_wait(*of_); }

private:
  event* of_;
};

}  // namespace detail

inline detail::event_operation event::wait() noexcept { return detail::event_operation(*this); }

}  // namespace eddy
