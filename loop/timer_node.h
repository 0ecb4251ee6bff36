// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>

#include <eddy/loop/clock.h>
#include <eddy/loop/ready.h>

namespace eddy {

namespace detail {
class timer_queue;
}

/// How exact a wait has to be.
enum class resolution : std::uint8_t {
  /// At most a millisecond late, the cheapest: what `epoll_wait` offers.
  millisecond,
  /// As exact as the kernel's high-resolution timers; one more system call.
  fine,
};

/// A place among a loop's timers, embedded in the object that waits.
///
/// When its time has come, it joins the ready queue; those with equal
/// deadlines do so in the order they were started. `timer` is this with a
/// handler.
///
/// Lifetime: as for `ready_node`; the loop outlives it while it is set.
class timer_node : public ready_node {
public:
  explicit timer_node(event_loop& loop, function run) noexcept : ready_node(run), loop_(&loop) {}
  timer_node(timer_node&& other) noexcept;
  timer_node& operator=(timer_node&&) = delete;
  ~timer_node() { clear(); }

  /// Sets the time, or moves it. Moving it later is a store: no search, no
  /// system call. A deadline that has passed is due in the loop's next turn.
  ///
  /// Errors: `std::bad_alloc`, and then it is not set.
  void set(instant deadline, resolution exactness = resolution::millisecond);

  /// Sets the time to `delay` from now, or moves it there.
  ///
  /// In a turn of the loop, `now` is its next look at the clock, which comes
  /// when all handlers have run: one serves all delays of the turn, because it
  /// costs more than all else here. Outside of the loop, for one that is to be
  /// `fine`, and on a clock that is moved by hand, it is the call itself.
  /// Errors: as for `set`.
  void set_after(time_span delay, resolution exactness = resolution::millisecond);

  /// After this it does not fire, though it was due already.
  void clear() noexcept {
    if (pending()) clear_pending();
  }

  /// Whether it will fire.
  [[nodiscard]] bool pending() const noexcept { return index_ != absent || ready_node::queued(); }

  /// Whether it is due, and in the ready queue.
  [[nodiscard]] bool queued() const noexcept { return index_ == absent && ready_node::queued(); }

  /// The time it was last set to. In the turn that set it to a delay, this makes
  /// the loop look at the clock.
  [[nodiscard]] time_point deadline() const noexcept;

  /// A timer in the background does not keep its loop running.
  void background(bool on) noexcept;

  /// How exactly it was last set.
  [[nodiscard]] resolution exactness() const noexcept { return resolution_; }

  [[nodiscard]] event_loop& loop() const noexcept { return *loop_; }

protected:
  /// `pending`, for users: one that is set belongs to the loop's thread.
  [[nodiscard]] bool checked_pending() const noexcept;

private:
  friend class detail::timer_queue;
  using ready_node::withdraw;  // `clear` does more
  void clear_pending() noexcept;

  static constexpr std::uint32_t absent = UINT32_MAX;

  // It lies in the frame of each task that sleeps: think before you add a
  // member. While it is filed, its link is free for the queue's list of those
  // that are not settled.
  event_loop* loop_;
  time_point deadline_{};          // while it is not settled: the earliest that it can be
  std::uint32_t order_ = 0;        // of `set`, among all of the loop
  std::uint32_t filed_order_ = 0;  // the order under which the queue holds it
  std::uint32_t index_ = absent;   // its place in the queue
  resolution resolution_ = resolution::millisecond;
  bool background_ = false;
};

}  // namespace eddy
