// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <algorithm>
#include <chrono>
#include <concepts>
#include <coroutine>
#include <string>

#include <eddy/future/detail/frame.h>
#include <eddy/future/spawn.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer_node.h>

namespace eddy {

namespace detail {

/// What `sleep` gives: to be awaited. The time until which, and in the last bit
/// whether that is to be `fine`.
///
/// It is no class, and `sleep` takes any duration as it is, because g++ 12 keeps
/// every object that is made in the expression of a co_await in the frame.
enum class [[nodiscard]] sleep_operation : duration::rep {};

inline sleep_operation sleep_operation_of(time_point until, resolution exactness) noexcept {
  constexpr duration::rep longest = duration::max().count() / 2;  // 146 years
  const duration::rep time = std::clamp(until.time_since_epoch().count(), -longest, longest);
  return sleep_operation(time * 2 + (exactness == resolution::fine ? 1 : 0));
}

class sleep_wait final : public wait, private timer_node {
public:
  explicit sleep_wait(sleep_operation);

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

inline sleep_wait operator co_await(sleep_operation what) { return sleep_wait(what); }

}  // namespace detail

/// `co_await sleep(1s)` goes on when that time has passed since the call. A delay
/// of zero or less is over at once, as is a time that has come.
template <class Rep, class Period>
  requires std::convertible_to<std::chrono::duration<Rep, Period>, duration>
[[nodiscard]] detail::sleep_operation sleep(std::chrono::duration<Rep, Period> delay,
                                            resolution exactness = resolution::millisecond) {
  return detail::sleep_operation_of(detail::current_loop("sleep").after(delay), exactness);
}

/// `co_await sleep_until(when)` goes on at that time of the loop's clock.
[[nodiscard]] inline detail::sleep_operation sleep_until(
    time_point when, resolution exactness = resolution::millisecond) {
  return detail::sleep_operation_of(when, exactness);
}

}  // namespace eddy
