// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

#include <eddy/loop/detail/handler_slot.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/timer_node.h>

namespace eddy {

/// Calls a handler once, at a time or after a delay, or periodically.
///
/// Starting an active timer moves its deadline and replaces its handler. Timers with equal
/// deadlines run in the order in which they were started. No timer runs early.
///
/// If a handler starts a delay, the delay counts from the end of the loop's turn, so equal delays
/// of one turn have equal deadlines. The delay counts from the call of `start` instead outside of
/// the loop's turns, with `resolution::fine`, and on a `manual_clock`.
///
/// Due timers run before ready descriptors. So after the process was stopped for a while, a
/// timeout may run before the handler of bytes that arrived in time.
///
/// Lifetime: the loop must outlive the timer. The handler may destroy or restart the timer. An
/// active timer may be moved.
/// Cancelling: after `stop` or the destructor the handler does not run, even if the timer was
/// due.
class timer : private timer_node {
public:
  /// Makes a timer on `loop`, and does not start it.
  explicit timer(event_loop& loop) noexcept : timer_node(loop, &fire) {}
  timer(timer&& other) noexcept;
  timer& operator=(timer&&) = delete;
  ~timer() = default;

  /// Calls `on_time` once, after `delay`. If `delay` is zero or less, the loop calls `on_time` in
  /// its next turn.
  /// Errors: `std::bad_alloc`. Aborts with a message if `on_time` is null.
  void start(time_span delay, handler<void()> on_time,
             resolution exactness = resolution::millisecond);

  /// Calls `on_time` once, at the time `when`. If `when` has passed, the loop calls `on_time` in
  /// its next turn.
  /// Errors: `std::bad_alloc`. Aborts with a message if `on_time` is null.
  void start_at(instant when, handler<void()> on_time,
                resolution exactness = resolution::millisecond);

  /// Calls `on_time` after each `period`.
  ///
  /// The ticks are whole periods from the start, so a slow handler does not shift later ticks.
  /// If the loop was late for several ticks, it calls the handler once, and `missed` returns the
  /// number of the other ticks.
  /// Errors: `std::bad_alloc`. Aborts with a message if `period` is not more than zero, or
  /// `on_time` is null.
  void start_every(time_span period, handler<void()> on_time,
                   resolution exactness = resolution::millisecond);

  /// Moves the next deadline to `delay` from now, and keeps the handler. For an idle timeout,
  /// this costs a few stores.
  ///
  /// Aborts with a message if the timer is not active, except inside the timer's own handler. The
  /// period of `start_every` stays as it was.
  /// Errors: `std::bad_alloc`.
  void restart(time_span delay);

  /// Stops the timer and destroys the handler. Does nothing if the timer is not active.
  void stop() noexcept;

  /// Returns whether the loop will call the handler.
  [[nodiscard]] bool active() const noexcept { return checked_pending(); }
  /// Returns the time of the next call.
  using timer_node::deadline;
  /// In a handler of `start_every`, returns how many ticks have passed without a call since the
  /// previous call.
  [[nodiscard]] std::uint64_t missed() const noexcept { return missed_; }

  /// Decides whether the timer is in the background. A timer in the background does not keep its
  /// loop running.
  using timer_node::background;

private:
  static void fire(ready_node& ready);
  void begin(handler<void()>& on_time, duration period);

  detail::handler_slot<> on_time_;
  duration period_{};  // zero if the timer runs once
  std::uint64_t missed_ = 0;
};

}  // namespace eddy
