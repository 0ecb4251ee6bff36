// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include <eddy/loop/clock.h>
#include <eddy/loop/detail/list_node.h>
#include <eddy/loop/timer_node.h>

namespace eddy::detail {

/// A time limit of some work: a timer that first lets all ready work run at its deadline,
/// because that may still complete the work in time.
class limit_node : public timer_node {
public:
  using timer_node::timer_node;

  /// Sets the deadline, as `timer_node::set` does. The limit gives way to ready work again.
  void set(instant deadline) {
    released_ = false;
    timer_node::set(deadline);
  }

protected:
  /// Called by a node that runs. Returns true if the node runs again later, and the limit has
  /// not expired yet. `due_limits` says when.
  [[nodiscard]] bool gives_way() noexcept;

  /// Called by a node that runs. Puts `node`, which is in no queue, before the due timers, and
  /// so before the ready queue.
  void run_instead(ready_node& node) noexcept;

private:
  friend class due_limits;

  time_point last_{};        // when the limit stops giving way
  std::uint16_t turn_ = 0;   // the count of turns when the loop reached it
  std::uint16_t looks_ = 0;  // the count of the loop's looks to wait for
  bool late_ = false;
  bool released_ = false;  // the limit expires when it runs again
};

/// The due limits of a loop, in the order in which they expire: the order of the timers.
///
/// The first limit expires when the loop has nothing else to run, and has looked at its
/// descriptors since it reached that limit and since the limit before it expired. So all effects
/// of one limit are complete before the next expires. A limit waits for 10 ms at most, or on a
/// `manual_clock` for eight turns that leave something to run.
///
/// If the loop reached a limit more than 10 ms late, because the process was stopped or a
/// handler took long, the limit waits longer. It waits for 10 ms, and then until the loop has
/// looked often enough to find every descriptor that was ready, for 80 ms at most. On a
/// `manual_clock` it waits only for the looks.
class due_limits {
public:
  explicit due_limits(event_loop& loop) noexcept : wake_(loop, [](ready_node&) {}) {}

  [[nodiscard]] bool any() const noexcept { return waiting_.linked(); }

  /// Whether the first limit needs turns, and not only time.
  [[nodiscard]] bool ready() const noexcept { return any() && !(first().late_ && wake_.pending()); }

  /// Returns the number of due limits.
  [[nodiscard]] std::size_t count() const noexcept;
  /// Returns the number of timers that the limits have set to wait for time alone.
  [[nodiscard]] std::size_t timers() const noexcept { return wake_.pending() ? 1 : 0; }

  /// Adds a due limit. `looks` counts the loop's looks at its descriptors, and `watches` counts
  /// these descriptors.
  void add(limit_node& limit, time_point now, bool held_clock, std::uint16_t looks,
           std::size_t watches) noexcept;

  /// Called at the begin of a turn. Moves the limits that stop giving way to the end of `due`.
  void begin_turn(time_point now, bool held_clock, std::uint16_t looks, list_node& due) noexcept;

  /// Called when the loop has nothing to run. Moves the first limit to `due`; false if it does
  /// not expire yet.
  bool release_first(std::uint16_t looks, list_node& due) noexcept;

  /// Stops the timer of the limits if no limit is left.
  void rest() noexcept {
    if (!any()) wake_.clear();
  }

  /// Moves all limits to the end of `list`.
  void move_to(list_node& list) noexcept { list.splice_back(waiting_); }

private:
  static limit_node& at(list_node& l) noexcept {
    return static_cast<limit_node&>(static_cast<ready_node&>(l));
  }
  [[nodiscard]] limit_node& first() const noexcept { return at(*waiting_.next); }
  void release(limit_node& limit, list_node& due) noexcept;
  void wake_at(time_point when) noexcept;

  list_node waiting_;
  timer_node wake_;                          // when the first limit, a late one, has waited 10 ms
  std::uint16_t turns_ = 0;                  // turns that left work while a limit waited; wraps
  bool drained_ = false;                     // the turn before ran everything
  std::uint16_t last_release_ = UINT16_MAX;  // the count of looks at the last release
};

}  // namespace eddy::detail
