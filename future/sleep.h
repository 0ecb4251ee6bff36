// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <algorithm>
#include <coroutine>
#include <string>

#include <eddy/future/detail/frame.h>
#include <eddy/future/spawn.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer_node.h>

namespace eddy {

namespace detail {

class sleep_wait;

/// What `sleep` gives: to be awaited. It takes 8 bytes of the frame that sleeps
/// beside what waits, because g++ 12 keeps both.
class [[nodiscard]] sleep_operation {
public:
  sleep_operation(time_point until, resolution exactness) noexcept
      : packed_(std::clamp(until.time_since_epoch().count(), -longest, longest) * 2 +
                (exactness == resolution::fine ? 1 : 0)) {}

  sleep_wait operator co_await() const;

  [[nodiscard]] time_point until() const noexcept { return time_point(duration(packed_ >> 1)); }
  [[nodiscard]] resolution exactness() const noexcept {
    return (packed_ & 1) != 0 ? resolution::fine : resolution::millisecond;
  }

private:
  static constexpr duration::rep longest = duration::max().count() / 2;  // 146 years

  duration::rep packed_;
};

class sleep_wait final : public wait, private timer_node {
public:
  explicit sleep_wait(sleep_operation);

  [[nodiscard]] bool await_ready() const noexcept { return false; }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> by) noexcept {
    this->begin(by);
  }

  void await_resume() const noexcept {}

  void describe(std::string& out, int depth) const override;

private:
  static void go_on(ready_node& node) {
    frame::resume(*static_cast<sleep_wait&>(static_cast<timer_node&>(node)).waiter());
  }
};

inline sleep_wait sleep_operation::operator co_await() const { return sleep_wait(*this); }

}  // namespace detail

/// `co_await sleep(1s)` goes on when that time has passed since the call.
[[nodiscard]] inline detail::sleep_operation sleep(duration delay,
                                                   resolution exactness = resolution::millisecond) {
  return {detail::current_loop("sleep").after(delay), exactness};
}

/// `co_await sleep_until(when)` goes on at that time of the loop's clock.
[[nodiscard]] inline detail::sleep_operation sleep_until(
    time_point when, resolution exactness = resolution::millisecond) {
  return {when, exactness};
}

}  // namespace eddy
