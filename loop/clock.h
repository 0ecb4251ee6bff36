// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace eddy {

/// The time of a loop: monotonic, so that a jump of the wall clock moves nothing.
using time_point = std::chrono::steady_clock::time_point;

/// A length of time, in nanoseconds; every `std::chrono` duration of integers converts.
using duration = std::chrono::steady_clock::duration;

namespace detail {

/// The sum, which does not overflow. A delay of less than zero is none.
[[nodiscard]] constexpr time_point later(time_point from, duration delay) noexcept {
  return from + std::clamp(delay, duration::zero(), time_point::max() - from);
}

}  // namespace detail

/// A clock that stands still until it is moved: for tests.
///
/// A loop that is made on one reads no other clock, so that an hour's wait
/// takes no time and is exact.
///
/// Lifetime: outlives the loops that are made on it.
class manual_clock {
public:
  /// What a loop does when nothing is ready and a timer is set.
  enum class idle : std::uint8_t {
    /// Time stands still: a timer that is not due keeps no loop running.
    hold,
    /// The clock jumps to the next deadline. Descriptors come first: it jumps
    /// only if none is ready, and never while work from `keep_alive` is out.
    jump,
  };

  explicit manual_clock(idle when_idle = idle::hold) noexcept : when_idle_(when_idle) {}
  manual_clock(const manual_clock&) = delete;
  manual_clock& operator=(const manual_clock&) = delete;

  [[nodiscard]] time_point now() const noexcept { return now_; }
  [[nodiscard]] idle when_idle() const noexcept { return when_idle_; }

  /// Moves the clock forward. What became due runs in the loop's next turn.
  void advance(duration by) noexcept { now_ += by; }

  /// Moves the clock to `to`, unless it is past it already.
  void advance_to(time_point to) noexcept {
    if (to > now_) now_ = to;
  }

private:
  // An hour after the epoch, so that a test may look back.
  time_point now_{std::chrono::hours(1)};
  idle when_idle_;
};

}  // namespace eddy
