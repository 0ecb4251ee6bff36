// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <string>

#include <eddy/future/detail/frame.h>
#include <eddy/future/spawn.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer_node.h>

namespace eddy {

namespace detail {

class sleep_wait final : public wait {
public:
  sleep_wait(event_loop& loop, time_point until, resolution exactness) noexcept
      : timer_(*this, loop), until_(until), resolution_(exactness) {}

  [[nodiscard]] bool await_ready() const noexcept { return false; }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> by) {
    timer_.set(until_, resolution_);
    this->begin(by);
  }

  void await_resume() const noexcept {}

  void describe(std::string& out, int depth) const override;

private:
  struct node : timer_node {
    node(sleep_wait& s, event_loop& loop) noexcept
        : timer_node(loop,
                     [](ready_node& n) { frame::resume(*static_cast<node&>(n).sleep.waiter()); }),
          sleep(s) {}
    sleep_wait& sleep;
  };

  node timer_;
  time_point until_;
  resolution resolution_;
};

/// What `sleep` gives: to be awaited.
class [[nodiscard]] sleep_operation {
public:
  sleep_operation(event_loop& loop, time_point until, resolution exactness) noexcept
      : loop_(&loop), until_(until), resolution_(exactness) {}

  sleep_wait operator co_await() const noexcept { return {*loop_, until_, resolution_}; }

private:
  event_loop* loop_;
  time_point until_;
  resolution resolution_;
};

}  // namespace detail

/// `co_await sleep(1s)` goes on when that time has passed since the call.
[[nodiscard]] inline detail::sleep_operation sleep(duration delay,
                                                   resolution exactness = resolution::millisecond) {
  event_loop& loop = detail::current_loop("sleep");
  return {loop, loop.after(delay), exactness};
}

/// `co_await sleep_until(when)` goes on at that time of the loop's clock.
[[nodiscard]] inline detail::sleep_operation sleep_until(
    time_point when, resolution exactness = resolution::millisecond) {
  return {detail::current_loop("sleep_until"), when, exactness};
}

}  // namespace eddy
