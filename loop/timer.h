// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

#include <eddy/loop/detail/own_handler.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/timer_node.h>

namespace eddy {

/// Calls a handler once, at a time or after a delay, or again and again.
///
/// Starting a running timer moves it; its old handler is dropped. Timers with
/// equal deadlines run in the order they were started.
///
/// A delay that a handler starts counts from the end of that turn of the loop,
/// one that starts outside of the loop from the call; so does one that is to be
/// `fine`, and any on a clock that is moved by hand. Whatever made the loop
/// late, no timer is early, and equal delays of one turn have equal deadlines.
///
/// Timers that are due run before descriptors that are ready: where the process was
/// stopped for a while, also before bytes that came in time.
///
/// Lifetime: the loop outlives the timer. The handler may destroy or restart
/// it. A timer may be moved while it runs.
/// Cancelling: once `stop` or the destructor has returned, the handler does
/// not run, though it was due.
class timer : private timer_node {
public:
  explicit timer(event_loop& loop) noexcept : timer_node(loop, &fire) {}
  timer(timer&& other) noexcept;
  timer& operator=(timer&&) = delete;
  ~timer() = default;

  /// Calls `on_time` once, after `delay`; a delay of zero or less is over in
  /// the next turn of the loop.
  /// Errors: `std::bad_alloc`.
  void start(time_span delay, handler<void()> on_time,
             resolution exactness = resolution::millisecond);

  /// Calls `on_time` once, at `when`.
  void start_at(instant when, handler<void()> on_time,
                resolution exactness = resolution::millisecond);

  /// Calls `on_time` after each `period`, which is more than zero.
  ///
  /// The ticks are whole periods from the start: a slow handler shifts none. A
  /// loop that was late for several ticks calls the handler once, and
  /// `missed` tells how many more had passed by then.
  void start_every(time_span period, handler<void()> on_time,
                   resolution exactness = resolution::millisecond);

  /// Moves a running timer's next deadline to `delay` from now and keeps its
  /// handler: the idle timeout, at the cost of a few stores.
  void restart(time_span delay);

  /// Does nothing to a timer that does not run.
  void stop() noexcept;

  /// Whether the handler will run.
  [[nodiscard]] bool active() const noexcept { return checked_pending(); }
  /// The time of the next call.
  using timer_node::deadline;
  /// In the handler of `start_every`: the ticks that passed without a call.
  [[nodiscard]] std::uint64_t missed() const noexcept { return missed_; }

  /// A timer in the background does not keep its loop running.
  using timer_node::background;

private:
  static void fire(ready_node& ready);
  void begin(handler<void()>& on_time, duration period);

  detail::own_handler<> on_time_;
  duration period_{};  // zero: once
  std::uint64_t missed_ = 0;
};

}  // namespace eddy
