// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <chrono>
#include <concepts>
#include <coroutine>
#include <string>

#include <eddy/future/detail/frame.h>
#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer_node.h>

namespace eddy {

namespace detail {
enum class [[nodiscard("this does nothing without co_await")]] sleep_operation : duration::rep {};
class exact_sleep_operation;
[[nodiscard]] time_point end_of_sleep(duration delay);
}  // namespace detail

/// `co_await sleep(1s)` suspends the coroutine until a second has passed since the call of `sleep`.
///
/// The coroutine resumes at most a millisecond late on an idle loop. A delay of zero or less does
/// not wait: `yield` lets other work run.
template <class Rep, class Period>
detail::sleep_operation sleep(std::chrono::duration<Rep, Period> delay) {
  const time_point until = detail::end_of_sleep(time_span(delay));
  return detail::sleep_operation(until.time_since_epoch().count());
}

/// Suspends the coroutine until `delay` has passed since this call, with the given resolution.
template <class Rep, class Period>
detail::exact_sleep_operation sleep(std::chrono::duration<Rep, Period> delay, resolution exactness);

/// `co_await sleep_until(when)` suspends the coroutine until the loop's clock shows `when`. If
/// `when` has passed, the coroutine goes on without waiting.
inline detail::sleep_operation sleep_until(instant when) {
  return detail::sleep_operation(time_point(when).time_since_epoch().count());
}

/// Suspends the coroutine until the loop's clock shows `when`, with the given resolution.
inline detail::exact_sleep_operation sleep_until(instant when, resolution exactness);

// implementation

namespace detail {

// A sleep_operation is no class, and `sleep` takes any duration as it is, because g++ 12 keeps
// every object that is made in the expression of a co_await in the frame.

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

class sleep_wait final : public suspension, private timer_node {
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

  void describe(description& to) const override;

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
inline time_point end_of_sleep(duration delay) {
  const event_loop& loop = current_loop("sleep");
  return delay > duration::zero() ? loop.after(delay) : time_point::min();
}

}  // namespace detail

template <class Rep, class Period>
detail::exact_sleep_operation sleep(std::chrono::duration<Rep, Period> delay,
                                    resolution exactness) {
  return {detail::end_of_sleep(time_span(delay)), exactness};
}

inline detail::exact_sleep_operation sleep_until(instant when, resolution exactness) {
  return {when, exactness};
}

}  // namespace eddy
