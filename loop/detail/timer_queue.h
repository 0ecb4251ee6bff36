// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <vector>

#include <eddy/loop/detail/link.h>
#include <eddy/loop/timer_node.h>

namespace eddy::detail {

/// Memory for the heap, so placed that the four children of an entry share a
/// cache line: the first entry lies at the end of one.
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

/// Timers by deadline, and by order of starting among equals.
///
/// A heap of four children a node, in one array. A timer that moves to a later
/// time keeps its place, and is filed anew when that place comes to the top:
/// the idle timeout that is pushed back with each message costs a few stores.
///
/// A timer may be set before its time is known, for which one look at the clock
/// is to serve many: it is filed under the earliest that it can be.
class timer_queue {
public:
  /// The orders of starting are counted from `first_order`.
  explicit timer_queue(std::uint32_t first_order = 0) noexcept : orders_(first_order) {}

  /// Files `node` under the deadline, or moves it. Errors: `std::bad_alloc`.
  void set(timer_node& node, time_point deadline, resolution exactness);

  /// The same, of a deadline to which `settle` will add something.
  /// Errors: `std::bad_alloc`.
  void set_unsettled(timer_node& node, time_point earliest, resolution exactness) {
    if (!keeps_place(node, earliest, exactness)) set(node, earliest, exactness);
    if (!node.linked()) unsettled_.push_back(node);
  }

  /// Adds `passed` to the deadlines that were not settled.
  void settle(duration passed) noexcept {
    if (unsettled()) settle_all(passed);
  }
  [[nodiscard]] bool unsettled() const noexcept { return unsettled_.linked(); }

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
  static constexpr std::uint32_t last_order = UINT32_MAX;

  struct entry {
    time_point deadline;  // at most the node's own
    timer_node* node;
  };

  /// Whether it is filed under its own deadline and order.
  static bool exact(const timer_node& node) noexcept { return node.filed_order_ == node.order_; }
  /// Moves `node`, if it is filed and moves to a later time. Its place, which
  /// would be a cache miss where there are many, is not looked at.
  bool keeps_place(timer_node& node, time_point deadline, resolution exactness) noexcept {
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
  /// That one of two which is before the other, without a branch on what is random.
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
  link unsettled_;
  std::uint32_t orders_;
  std::size_t foreground_ = 0;
  std::size_t fine_ = 0;
};

}  // namespace eddy::detail
