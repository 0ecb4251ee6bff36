// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>

#include <eddy/loop/clock.h>
#include <eddy/loop/ready_node.h>

namespace eddy {

namespace detail {
class timer_queue;
}

/// How exact a timer has to be.
enum class resolution : std::uint8_t {
  /// At most a millisecond late. This is the cheapest resolution.
  millisecond,
  /// As exact as the kernel's high-resolution timers, for one more system call.
  fine,
};

/// A timer without a handler: a base class for objects that a loop runs at a deadline. `timer` adds
/// a handler.
///
/// At the node's deadline, the loop queues the node, and then calls the node's function. Nodes with
/// equal deadlines run in the order in which they were set.
///
/// Lifetime: the loop must outlive a node that is set. A node may be destroyed at any time, also by
/// its own function, and then never runs. A set node may be moved.
class timer_node : public ready_node {
public:
  /// Makes a node that is not set, for which `loop` calls `run`.
  explicit timer_node(event_loop& loop, function run) noexcept : ready_node(run), loop_(&loop) {}
  timer_node(timer_node&& other) noexcept;
  timer_node& operator=(timer_node&&) = delete;
  ~timer_node() { clear(); }

  /// Sets the deadline. On a node that is set, moves the deadline. If the deadline has passed, the
  /// node runs in the loop's next turn. Moving a deadline later costs a few stores: no search, no
  /// system call.
  /// Errors: `std::bad_alloc`, after which the node is not set.
  void set(instant deadline, resolution exactness = resolution::millisecond);

  /// Sets the deadline to `delay` from now, or moves the deadline there. A negative `delay` counts
  /// as zero.
  ///
  /// In a turn of the loop, the delay counts from the loop's next reading of the clock, after all
  /// handlers of the turn. One reading serves all delays of the turn, because a reading costs more
  /// than the rest of this call. Outside of the loop's turns, for `resolution::fine`, and on a
  /// `manual_clock`, the delay counts from the call.
  /// Errors: `std::bad_alloc`, after which the node is not set.
  void set_after(time_span delay, resolution exactness = resolution::millisecond);

  /// Removes the deadline. The node does not run, even if the deadline has passed already.
  void clear() noexcept {
    if (pending()) clear_pending();
  }

  /// Returns whether the node is set or queued, so that it will run.
  [[nodiscard]] bool pending() const noexcept { return index_ != absent || ready_node::queued(); }

  /// Returns whether the node is due and queued to run.
  [[nodiscard]] bool queued() const noexcept { return index_ == absent && ready_node::queued(); }

  /// Returns the deadline that was set last.
  ///
  /// A delay that `set_after` started in the running turn has no deadline yet. In that case the
  /// call reads the clock, and all such delays of the loop count from that reading.
  [[nodiscard]] time_point deadline() const noexcept;

  /// Decides whether the node is in the background. A node in the background does not keep its
  /// loop running.
  void background(bool on) noexcept;

  /// Returns the resolution that was set last.
  [[nodiscard]] resolution exactness() const noexcept { return resolution_; }

  [[nodiscard]] event_loop& loop() const noexcept { return *loop_; }

protected:
  /// Returns whether the node is pending. Aborts with a message if it is, and the loop belongs to
  /// another thread.
  [[nodiscard]] bool checked_pending() const noexcept;

private:
  friend class detail::timer_queue;
  using ready_node::withdraw;  // `clear` does more
  void clear_pending() noexcept;

  static constexpr std::uint32_t absent = UINT32_MAX;

  // Each task that sleeps has a timer_node in its frame: think before you add a member. While
  // the queue of timers holds the node, its list_node serves the queue's list of unsettled
  // nodes.
  event_loop* loop_;
  time_point deadline_{};          // the earliest possible deadline while the node is not settled
  std::uint32_t order_ = 0;        // the order of `set` among all nodes of the loop
  std::uint32_t filed_order_ = 0;  // the order under which the queue holds it
  std::uint32_t index_ = absent;   // the node's position in the queue of timers
  resolution resolution_ = resolution::millisecond;
  bool background_ = false;
};

}  // namespace eddy
