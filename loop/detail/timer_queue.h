// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include <eddy/loop/timer_node.h>

namespace eddy::detail {

/// Timers by deadline, and by order of starting among equals.
///
/// A heap of four children a node, in one array. A timer that moves to a later
/// time keeps its place, and is filed anew when that place comes to the top:
/// the idle timeout that is pushed back with each message costs two stores.
class timer_queue {
public:
  /// Files `node` under the deadline, or moves it. Errors: `std::bad_alloc`.
  void set(timer_node& node, time_point deadline, resolution exactness);

  void remove(timer_node& node) noexcept;

  /// `to` takes the place of `from`, which the queue forgets.
  static void replace(timer_queue& queue, timer_node& from, timer_node& to) noexcept;

  void background(timer_node& node, bool on) noexcept;

  /// Takes out the first timer that is due at `now`; null if none is.
  [[nodiscard]] timer_node* take_due(time_point now) noexcept;

  /// A time before which nothing is due: at times earlier than the first
  /// deadline, never later. Empty if no timer is set.
  [[nodiscard]] std::optional<time_point> next() const noexcept;

  /// The first timer, exactly; null if none is set.
  [[nodiscard]] const timer_node* first() noexcept;

  /// Whether any timer asked for more than milliseconds.
  [[nodiscard]] bool fine() const noexcept { return fine_ != 0; }

  [[nodiscard]] std::size_t size() const noexcept { return heap_.size(); }

  /// How many of them keep the loop running.
  [[nodiscard]] std::size_t foreground() const noexcept { return foreground_; }

private:
  struct entry {
    time_point deadline;  // at most the node's own
    timer_node* node;
  };

  static bool before(const entry& a, const entry& b) noexcept;
  void place(std::size_t index, entry e) noexcept;
  void sift_up(std::size_t index, entry e) noexcept;
  void sift_down(std::size_t index, entry e) noexcept;
  void settle_top() noexcept;
  void count(const timer_node& node, bool in) noexcept;

  std::vector<entry> heap_;
  std::uint64_t orders_ = 0;
  std::size_t foreground_ = 0;
  std::size_t fine_ = 0;
};

}  // namespace eddy::detail
