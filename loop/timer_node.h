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

  /// The state of a limit between its calls of `gives_way`; each limit begins with a new one.
  struct patience {
    std::uint16_t until = 0;  // the count of the loop's looks, or drained turns, to wait for
    std::uint8_t calls = 0;
    bool late = false;
  };

  /// For a node that runs: whether it runs again.
  ///
  /// If anything is ready, the node runs again in the next turn: a descriptor may have
  /// become ready in time, or the result of a task may be on its way to the coroutine that
  /// awaits its future. If the turn could not run everything, the node runs in the turns
  /// that follow, until one has, or for 10 ms; on a clock that is moved by hand nine times
  /// at most.
  ///
  /// If the loop reached the node more than 10 ms late, because the process was stopped or
  /// a handler took long, events that came in time are handled before the limit is over.
  /// The node runs again each 10 ms, until the loop has looked at its descriptors often
  /// enough to find all that were ready, and has called their handlers; at most eight
  /// times. On a clock that is moved by hand it runs again in the next turn.
  ///
  /// While a node with an earlier deadline runs again, the nodes behind it do so too, for a
  /// turn longer.
  [[nodiscard]] bool gives_way(patience& p) noexcept;

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

  /// For a node that runs: puts `node`, which is in no queue, before the timers that are
  /// due, which run before the ready queue.
  void run_instead(ready_node& node) noexcept;

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
