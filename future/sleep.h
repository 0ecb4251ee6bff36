// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <coroutine>
#include <string>

#include <eddy/future/detail/current_loop.h>
#include <eddy/future/detail/frame.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer_node.h>

namespace eddy {

namespace detail {

/// What `sleep` gives, to be awaited: the time until which.
///
/// It is no class, and `sleep` takes any duration as it is, because g++ 12 keeps
/// every object that is made in the expression of a co_await in the frame.
enum class [[nodiscard("this does nothing without co_await")]] sleep_operation : duration::rep {};

/// The same with a resolution.
class [[nodiscard("this does nothing without co_await")]] exact_sleep_operation {
public:
  exact_sleep_operation(time_point until, resolution exactness) noexcept
      : until_(until), exactness_(exactness) {}

  [[nodiscard]] time_point until() const noexcept { return until_; }
  [[nodiscard]] resolution exactness() const noexcept { return exactness_; }

private:
  time_point until_;
  resolution exactness_;
};

class sleep_wait final : public wait, private timer_node {
public:
  sleep_wait(time_point until, resolution exactness);

  /// A time that has come need not be waited for.
  [[nodiscard]] bool await_ready() const noexcept { return !pending() && frame::may_go_on(); }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> by) noexcept {
    waiter_ = &by.promise();
    waiter_->waits_for(*this);
    if (!pending()) loop().ready(*waiter_);
  }

  void await_resume() const noexcept {}

  void describe(std::string& out, int depth) const override;

private:
  static void go_on(ready_node& node) {
    frame::resume(*static_cast<sleep_wait&>(static_cast<timer_node&>(node)).waiter_);
  }

  frame* waiter_ = nullptr;
};

inline sleep_wait operator co_await(sleep_operation o) {
  return {time_point(duration(static_cast<duration::rep>(o))), resolution::millisecond};
}
inline sleep_wait operator co_await(const exact_sleep_operation& o) {
  return {o.until(), o.exactness()};
}

/// The earliest of times for a delay that is over at once.
[[nodiscard]] inline time_point end_of_sleep(duration delay) {
  const event_loop& loop = current_loop("sleep");
  return delay > duration::zero() ? loop.after(delay) : time_point::min();
}

}  // namespace detail

/// `co_await sleep(1s)` goes on when that time has passed since the call. A delay
/// of zero or less is over at once, as is a time that has come.
template <class Rep, class Period>
detail::sleep_operation sleep(std::chrono::duration<Rep, Period> delay) {
  const time_point until = detail::end_of_sleep(time_span(delay));
  return detail::sleep_operation(until.time_since_epoch().count());
}
template <class Rep, class Period>
detail::exact_sleep_operation sleep(std::chrono::duration<Rep, Period> delay,
                                    resolution exactness) {
  return {detail::end_of_sleep(time_span(delay)), exactness};
}

/// `co_await sleep_until(when)` goes on at that time of the loop's clock.
inline detail::sleep_operation sleep_until(instant when) {
  return detail::sleep_operation(time_point(when).time_since_epoch().count());
}
inline detail::exact_sleep_operation sleep_until(instant when, resolution exactness) {
  return {when, exactness};
}

}  // namespace eddy
