// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include <eddy/loop/clock.h>
#include <eddy/loop/detail/link.h>
#include <eddy/loop/timer_node.h>

namespace eddy::detail {

/// A time limit of some work: a timer that lets everything run first that is ready when
/// its time has come, because that may still end the work.
class limit_node : public timer_node {
public:
  using timer_node::timer_node;

  /// As `timer_node::set`; the limit gives way anew.
  void set(instant deadline) {
    released_ = false;
    timer_node::set(deadline);
  }

protected:
  /// For a node that runs: whether it runs again, so that the limit is not over yet.
  /// `due_limits` says when.
  [[nodiscard]] bool gives_way() noexcept;

  /// For a node that runs: puts `node`, which is in no queue, before the timers that are
  /// due, which run before the ready queue.
  void run_instead(ready_node& node) noexcept;

private:
  friend class due_limits;

  time_point last_{};        // the limit gives way no longer
  std::uint16_t turn_ = 0;   // the count of turns when the loop reached it
  std::uint16_t looks_ = 0;  // the count of the loop's looks to wait for
  bool late_ = false;
  bool released_ = false;  // it is over when it runs again
};

/// The limits of a loop whose time has come, in the order in which they are to end: that of
/// the timers.
///
/// The first one ends when the loop has nothing else to run, and has looked at its
/// descriptors since it reached that limit and since the limit before it ended. So the end of
/// a limit can have all its effects before the next one ends. A limit waits for 10 ms at most;
/// on a clock that is moved by hand, for eight turns that leave something to run.
///
/// If the loop reached a limit more than 10 ms late, because the process was stopped or a
/// handler took long, the limit first waits for 10 ms, and until the loop has looked often
/// enough to find all descriptors that were ready; for 80 ms at most. On a clock that is moved
/// by hand it waits for the looks alone.
class due_limits {
public:
  explicit due_limits(event_loop& loop) noexcept : wake_(loop, [](ready_node&) {}) {}

  [[nodiscard]] bool any() const noexcept { return waiting_.linked(); }

  /// Whether the first one needs turns, and not only time.
  [[nodiscard]] bool ready() const noexcept { return any() && !(first().late_ && wake_.pending()); }

  /// How many there are.
  [[nodiscard]] std::size_t count() const noexcept;
  /// How many timers those that wait for time alone have set.
  [[nodiscard]] std::size_t timers() const noexcept { return wake_.pending() ? 1 : 0; }

  /// `looks` counts the loop's looks at its descriptors, of which there are `watches`.
  void add(limit_node& limit, time_point now, bool held_clock, std::uint16_t looks,
           std::size_t watches) noexcept;

  /// A turn begins: moves the limits that give way no longer to the end of `due`.
  void begin_turn(time_point now, bool held_clock, std::uint16_t looks, link& due) noexcept;

  /// The loop has nothing to run: moves the first limit to `due`. False if it does not end yet.
  bool release_first(std::uint16_t looks, link& due) noexcept;

  /// If none is left, nor is their timer.
  void rest() noexcept {
    if (!any()) wake_.clear();
  }

  /// Moves all of them to the end of `list`.
  void move_to(link& list) noexcept { list.splice_back(waiting_); }

private:
  static limit_node& at(link& l) noexcept {
    return static_cast<limit_node&>(static_cast<ready_node&>(l));
  }
  [[nodiscard]] limit_node& first() const noexcept { return at(*waiting_.next); }
  void release(limit_node& limit, link& due) noexcept;
  void wake_at(time_point when) noexcept;

  link waiting_;
  timer_node wake_;                          // when the first, a late one, has waited for its 10 ms
  std::uint16_t turns_ = 0;                  // that ran not everything while one waited; it wraps
  bool drained_ = false;                     // the turn before ran everything
  std::uint16_t last_release_ = UINT16_MAX;  // the count of looks then
};

}  // namespace eddy::detail
