// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <ratio>

#include <eddy/loop/detail/language.h>

namespace eddy {

/// A time of the loop's clock. The clock is monotonic: a change of the system's time of day does
/// not move it.
using time_point = std::chrono::steady_clock::time_point;

/// A length of time, in nanoseconds.
using duration = std::chrono::steady_clock::duration;

// All arithmetic on times saturates at the longest and shortest value.
namespace detail {

template <class Rep, class Period>
[[nodiscard]] constexpr duration in_nanoseconds(std::chrono::duration<Rep, Period> d) noexcept {
  constexpr auto most = std::numeric_limits<duration::rep>::max();
  constexpr auto least = std::numeric_limits<duration::rep>::min();
  if constexpr (std::chrono::treat_as_floating_point_v<Rep>) {
    // This order of operations is exact for each unit of std::chrono.
    constexpr long double unit = static_cast<long double>(Period::num) * duration::period::den /
                                 Period::den / duration::period::num;
    const long double exact = static_cast<long double>(d.count()) * unit;
    if (!(exact < static_cast<long double>(most))) return duration(exact == exact ? most : 0);
    return duration(exact > static_cast<long double>(least) ? static_cast<duration::rep>(exact)
                                                            : least);
  } else {
    __extension__ using wide = __int128;
    constexpr wide unit = wide{Period::num} * duration::period::den;
    wide product = 0;
    if (__builtin_mul_overflow(wide{d.count()}, unit, &product)) {
      return duration(d.count() < 0 ? least : most);
    }
    product /= wide{Period::den} * duration::period::num;
    if (product > most) return duration(most);
    return duration(product < least ? least : static_cast<duration::rep>(product));
  }
}

/// Returns the time `d` after `t`, saturated.
[[nodiscard]] constexpr time_point plus(time_point t, duration d) noexcept {
  duration::rep sum = 0;
  if (__builtin_add_overflow(t.time_since_epoch().count(), d.count(), &sum)) {
    return d < duration::zero() ? time_point::min() : time_point::max();
  }
  return time_point(duration(sum));
}

/// Returns the time from `earlier` to `later`, saturated.
[[nodiscard]] constexpr duration between(time_point earlier, time_point later) noexcept {
  duration::rep difference = 0;
  if (__builtin_sub_overflow(later.time_since_epoch().count(), earlier.time_since_epoch().count(),
                             &difference)) {
    return later < earlier ? duration::min() : duration::max();
  }
  return duration(difference);
}

/// Returns `d` multiplied by `factor`, saturated.
[[nodiscard]] constexpr duration times(duration d, std::uint64_t factor) noexcept {
  duration::rep product = 0;
  if (__builtin_mul_overflow(d.count(), factor, &product)) {
    return d < duration::zero() ? duration::min() : duration::max();
  }
  return duration(product);
}

}  // namespace detail

/// A length of time in any unit, of integers or floating-point numbers, as a function argument. A
/// length that does not fit a `duration` becomes the longest or shortest `duration`; a NaN becomes
/// zero.
class time_span {
public:
  template <class Rep, class Period>
  constexpr time_span(std::chrono::duration<Rep, Period> d) noexcept
      : length_(detail::in_nanoseconds(d)) {}

  [[nodiscard]] constexpr operator duration() const noexcept { return length_; }

private:
  duration length_;
};

/// A time of the loop's clock in any unit, as a function argument. A time that does not fit a
/// `time_point` becomes the latest or earliest `time_point`.
class instant {
public:
  template <class Duration>
  constexpr instant(std::chrono::time_point<std::chrono::steady_clock, Duration> t) noexcept
      : time_(detail::in_nanoseconds(t.time_since_epoch())) {}

  [[nodiscard]] constexpr operator time_point() const noexcept { return time_; }

private:
  time_point time_;
};

/// A clock for tests: the program moves it, or it jumps from timer to timer.
///
/// A loop made on this clock reads no other clock. So an hour's wait takes no time and is exact.
///
/// Lifetime: the clock must outlive the loops that are made on it.
class manual_clock {
public:
  /// The behaviour of the clock when a loop has nothing to run before its next timer.
  enum class idle : std::uint8_t {
    /// Time stands still. A timer that is not due does not keep its loop running.
    hold,
    /// The clock jumps to the deadline of the loop's next timer. It does not jump while a
    /// descriptor is ready or a `work_guard` exists.
    jump,
  };

  /// Makes a clock that stands at one hour after the epoch of `time_point`.
  explicit manual_clock(idle when_idle = idle::hold) noexcept : when_idle_(when_idle) {}
  manual_clock(const manual_clock&) = delete;
  manual_clock& operator=(const manual_clock&) = delete;

  [[nodiscard]] time_point now() const noexcept { return now_; }
  [[nodiscard]] idle when_idle() const noexcept { return when_idle_; }

  /// Moves the clock forward by `by`. Timers that become due run in the loop's next turn. If `by`
  /// is negative, the clock does not move.
  void advance(time_span by) noexcept { advance_to(detail::plus(now_, by)); }

  /// Moves the clock to `to`. If `to` has passed, the clock does not move.
  void advance_to(instant to) noexcept {
    if (const time_point later = to; now_ < later) now_ = later;
  }

private:
  // One hour after the epoch, so that a test can use earlier times.
  time_point now_{std::chrono::hours(1)};
  idle when_idle_;
};

}  // namespace eddy
