// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <ratio>

#include <eddy/loop/detail/language.h>

namespace eddy {

/// The time of a loop: monotonic, so that a jump of the wall clock moves nothing.
using time_point = std::chrono::steady_clock::time_point;

/// A length of time, in nanoseconds.
using duration = std::chrono::steady_clock::duration;

// All arithmetic on times stops at the longest and at the shortest.
namespace detail {

template <class Rep, class Period>
[[nodiscard]] constexpr duration in_nanoseconds(std::chrono::duration<Rep, Period> d) noexcept {
  constexpr auto most = std::numeric_limits<duration::rep>::max();
  constexpr auto least = std::numeric_limits<duration::rep>::min();
  if constexpr (std::chrono::treat_as_floating_point_v<Rep>) {
    // In this order it is exact for each unit of std::chrono.
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

/// The sum.
[[nodiscard]] constexpr time_point plus(time_point t, duration d) noexcept {
  duration::rep sum = 0;
  if (__builtin_add_overflow(t.time_since_epoch().count(), d.count(), &sum)) {
    return d < duration::zero() ? time_point::min() : time_point::max();
  }
  return time_point(duration(sum));
}

/// How long it is from `earlier` to `later`.
[[nodiscard]] constexpr duration between(time_point earlier, time_point later) noexcept {
  duration::rep difference = 0;
  if (__builtin_sub_overflow(later.time_since_epoch().count(), earlier.time_since_epoch().count(),
                             &difference)) {
    return later < earlier ? duration::min() : duration::max();
  }
  return duration(difference);
}

/// The product.
[[nodiscard]] constexpr duration times(duration d, std::uint64_t factor) noexcept {
  duration::rep product = 0;
  if (__builtin_mul_overflow(d.count(), factor, &product)) {
    return d < duration::zero() ? duration::min() : duration::max();
  }
  return duration(product);
}

}  // namespace detail

/// A length of time in any unit, as an argument: of integers or of floating-point
/// numbers. One that is too long for a `duration` becomes the longest.
class time_span {
public:
  template <class Rep, class Period>
  constexpr time_span(std::chrono::duration<Rep, Period> d) noexcept
      : length_(detail::in_nanoseconds(d)) {}

  [[nodiscard]] constexpr operator duration() const noexcept { return length_; }

private:
  duration length_;
};

/// A time of the loop's clock in any unit, as an argument. One that is too far off
/// for a `time_point` becomes the farthest.
class instant {
public:
  template <class Duration>
  constexpr instant(std::chrono::time_point<std::chrono::steady_clock, Duration> t) noexcept
      : time_(detail::in_nanoseconds(t.time_since_epoch())) {}

  [[nodiscard]] constexpr operator time_point() const noexcept { return time_; }

private:
  time_point time_;
};

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

  /// Moves the clock forward. What became due runs in the loop's next turn. A
  /// length of less than zero moves nothing.
  void advance(time_span by) noexcept { advance_to(detail::plus(now_, by)); }

  /// Moves the clock to `to`, unless it is past it already.
  void advance_to(instant to) noexcept { now_ = std::max<time_point>(now_, to); }

private:
  // An hour after the epoch, so that a test may look back.
  time_point now_{std::chrono::hours(1)};
  idle when_idle_;
};

}  // namespace eddy
