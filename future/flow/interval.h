// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

#include <eddy/future/task.h>
#include <eddy/loop/clock.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer_node.h>

namespace eddy {

/// How an `interval` treats ticks that were due while no coroutine awaited it.
///
/// Example: the period is 1 s, and the work after the tick at 1 s takes until 3.5 s. `next` then
/// completes at
///
///     skip   3.5, 4, 5      the tick of 2 s comes late; the tick of 3 s is skipped
///     burst  3.5, 3.5, 4    the ticks of 2 s and 3 s come late; no tick is skipped
///     delay  3.5, 4.5, 5.5  the tick of 2 s comes late; later ticks follow it a period apart
enum class missed_ticks : std::uint8_t { skip, burst, delay };

/// Ticks at a fixed period, for a coroutine that repeats something.
///
///     eddy::interval seconds(1s);
///     for (;;) {
///       co_await seconds.next();
///       show(load());
///     }
///
/// The first tick is due one period after the `interval` was made. With `skip` and `burst`, each
/// later tick is due a whole number of periods after the first, however long the work takes.
class interval {
public:
  /// Starts the first period now, on the running loop. `rule` says how missed ticks are treated,
  /// and `exactness` how late each tick may be. Aborts if no loop runs, or if `period` is not more
  /// than zero.
  explicit interval(time_span period, missed_ticks rule = missed_ticks::skip,
                    resolution exactness = resolution::millisecond);

  /// `co_await i.next()` completes at the next tick, and gives the time at which that tick was due.
  ///
  /// If the tick is already overdue, `next` completes without waiting. Awaiting a second `next` of
  /// the same interval aborts while the first is suspended.
  /// Lifetime: the interval must outlive the task.
  /// Cancelling: a cancelled `next` consumes no tick. The following `next` gives the same tick.
  task<time_point> next();

  /// The number of ticks that `skip` skipped after the tick that `next` gave last.
  [[nodiscard]] std::uint64_t missed() const noexcept { return missed_; }
  [[nodiscard]] duration period() const noexcept { return period_; }

private:
  /// Whether a `next` is suspended. A copy of the interval starts with false.
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
