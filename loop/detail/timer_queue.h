// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <vector>

#include <eddy/loop/detail/list_node.h>
#include <eddy/loop/timer_node.h>

namespace eddy::detail {

/// Allocates the heap so that the four children of an entry share a cache line: the first entry
/// lies at the end of a line.
template <class Entry>
struct line_allocator {
  using value_type = Entry;
  static constexpr std::align_val_t line{64};
  static constexpr std::size_t ahead = 64 - sizeof(Entry);

  static Entry* allocate(std::size_t n) {
    void* const block = ::operator new(ahead + n * sizeof(Entry), line);
    return reinterpret_cast<Entry*>(static_cast<std::byte*>(block) + ahead);
  }
  static void deallocate(Entry* first, std::size_t) noexcept {
    ::operator delete(reinterpret_cast<std::byte*>(first) - ahead, line);
  }
  friend bool operator==(line_allocator, line_allocator) noexcept { return true; }
};

/// Timers by deadline, and by order of starting among equal deadlines.
///
/// The queue is a heap with four children per entry, in one array. A timer that moves to a later
/// deadline keeps its position, and is filed again when that position reaches the top. So an
/// idle timeout that each message moves later costs a few stores.
///
/// A timer may be set before its deadline is known, when one reading of the clock serves many
/// timers. It is then filed under the earliest possible deadline, and is unsettled until
/// `settle`.
class timer_queue {
public:
  /// Counts the orders of starting from `first_order`.
  explicit timer_queue(std::uint32_t first_order = 0) noexcept : orders_(first_order) {}

  /// Files `node` under `deadline`, or moves it there. Errors: `std::bad_alloc`.
  void set(timer_node& node, time_point deadline, resolution exactness);

  /// Files `node` under `earliest`, or moves it there. `settle` will add a time to this
  /// deadline.
  /// Errors: `std::bad_alloc`.
  void set_unsettled(timer_node& node, time_point earliest, resolution exactness) {
    if (!keeps_position(node, earliest, exactness)) set(node, earliest, exactness);
    if (!node.linked()) unsettled_.push_back(node);
  }

  /// Adds `passed` to the deadlines of the unsettled timers.
  void settle(duration passed) noexcept {
    if (unsettled()) settle_all(passed);
  }
  [[nodiscard]] bool unsettled() const noexcept { return unsettled_.linked(); }

  void remove(timer_node& node) noexcept;

  /// Puts `to` at the position of `from`, and removes `from`.
  static void replace(timer_queue& queue, timer_node& from, timer_node& to) noexcept;

  void background(timer_node& node, bool on) noexcept;

  /// Removes and returns the first timer that is due at `now`; null if none is due.
  [[nodiscard]] timer_node* take_due(time_point now) noexcept;

  /// Returns a time before which no timer is due. It may be earlier than the first deadline,
  /// never later. Empty if no timer is set.
  [[nodiscard]] std::optional<time_point> next() const noexcept;

  /// Returns the timer with the first deadline; null if none is set.
  [[nodiscard]] const timer_node* first() noexcept;

  /// Whether any timer has `resolution::fine`.
  [[nodiscard]] bool fine() const noexcept { return fine_ != 0; }

  [[nodiscard]] std::size_t size() const noexcept { return heap_.size(); }

  /// Returns the number of timers that keep the loop running.
  [[nodiscard]] std::size_t foreground() const noexcept { return foreground_; }

private:
  static constexpr std::uint32_t last_order = UINT32_MAX;

  struct entry {
    time_point deadline;  // at most the node's own
    timer_node* node;
  };

  /// Whether the node is filed under its own deadline and order.
  static bool exact(const timer_node& node) noexcept { return node.filed_order_ == node.order_; }
  /// Moves a filed `node` to a later deadline without moving it in the heap. The heap's entry is
  /// not read, because in a large heap that is a cache miss. False if the node cannot keep its
  /// position.
  bool keeps_position(timer_node& node, time_point deadline, resolution exactness) noexcept {
    if (node.index_ == timer_node::absent || deadline < node.deadline_ ||
        node.resolution_ != exactness || orders_ == last_order) {
      return false;
    }
    node.deadline_ = deadline;
    node.order_ = orders_++;
    return true;
  }
  static bool before(const entry& a, const entry& b) noexcept {
    if (a.deadline == b.deadline) [[unlikely]]
      return a.node->filed_order_ < b.node->filed_order_;
    return a.deadline < b.deadline;
  }
  void place(std::size_t index, entry e) noexcept {
    heap_[index] = e;
    e.node->index_ = static_cast<std::uint32_t>(index);
  }
  /// Returns that of two indexes whose entry is before the other, without a branch that depends
  /// on random data.
  [[nodiscard]] std::size_t earlier(std::size_t a, std::size_t b) const noexcept {
    return a + (b - a) * static_cast<std::size_t>(before(heap_[b], heap_[a]));
  }
  void sift_up(std::size_t index, entry e) noexcept;
  void sift_down(std::size_t index, entry e) noexcept;
  void refile_top() noexcept;
  void settle_all(duration passed) noexcept;
  [[gnu::cold]] void renumber() noexcept;
  void count(const timer_node& node, bool in) noexcept;

  std::vector<entry, line_allocator<entry>> heap_;
  list_node unsettled_;
  std::uint32_t orders_;
  std::size_t foreground_ = 0;
  std::size_t fine_ = 0;
};

}  // namespace eddy::detail
