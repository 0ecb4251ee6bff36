// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

#include <eddy/future/task.h>
#include <eddy/loop/clock.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer_node.h>

namespace eddy {

/// What an `interval` makes of ticks that were due while nobody waited.
///
/// With a period of 1 s, and work that after the tick of 1 s takes until 3.5 s,
/// the following ticks come at
///
///     skip   3.5, 4, 5     the one of 2 s, late; that of 3 s is left out
///     burst  3.5, 3.5, 4   those of 2 s and 3 s, late; none is left out
///     delay  3.5, 4.5, 5.5 a whole period lies between two of them
enum class missed_ticks : std::uint8_t { skip, burst, delay };

/// A clock that ticks, for a coroutine.
///
///     eddy::interval seconds(1s);
///     for (;;) {
///       co_await seconds.next();
///       show(load());
///     }
///
/// The first tick is a period after it was made. With `skip` and `burst` each is
/// due whole periods after that, however long the work in between takes.
class interval {
public:
  /// On the loop that is running. The period is more than zero.
  explicit interval(time_span period, missed_ticks rule = missed_ticks::skip,
                    resolution exactness = resolution::millisecond);

  /// `co_await i.next()` goes on at the next tick, which may be past; it gives
  /// the time at which that was due. One at a time waits, and the interval must
  /// live until then.
  /// Cancelling: loses no tick.
  task<time_point> next();

  /// How many ticks were left out after the one that `next` gave last.
  [[nodiscard]] std::uint64_t missed() const noexcept { return missed_; }
  [[nodiscard]] duration period() const noexcept { return period_; }

private:
  /// Whether somebody waits, which a copy does not take over.
  struct waiting {
    waiting() noexcept = default;
    waiting(const waiting&) noexcept {}
    waiting& operator=(const waiting&) noexcept { return *this; }
    bool on = false;
  };

  duration period_;
  time_point due_;
  std::uint64_t missed_ = 0;
  missed_ticks rule_;
  resolution exactness_;
  waiting waiting_;
};

}  // namespace eddy
