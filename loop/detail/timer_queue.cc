// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/timer_queue.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <utility>

namespace eddy::detail {

namespace {
constexpr std::size_t arity = 4;

// Timers in the first three rows of the heap are soon taken out and run.
constexpr std::size_t soon = 1 + arity + arity * arity;

void prefetch(const timer_node& node) noexcept {
  __builtin_prefetch(&node);
  __builtin_prefetch(&node + 1);  // the handler
}

// An entry that sinks through a large heap costs a cache miss per row, and the row above decides
// which line is needed. So the lines of all grandchildren are fetched before the choice is known.
// With a million timers this reduced the cost of taking the first to 0.78 (g++ 12, 4 interleaved
// runs).
template <class Entry>
void prefetch_lines(const Entry* grandchildren) noexcept {
  __builtin_prefetch(grandchildren);
  __builtin_prefetch(grandchildren + arity);
  __builtin_prefetch(grandchildren + 2 * arity);
  __builtin_prefetch(grandchildren + 3 * arity);
}

}  // namespace

void timer_queue::sift_up(std::size_t index, entry e) noexcept {
  while (index != 0) {
    const std::size_t parent = (index - 1) / arity;
    if (!before(e, heap_[parent])) break;
    place(index, heap_[parent]);
    index = parent;
  }
  place(index, e);
}

void timer_queue::sift_down(std::size_t index, entry e) noexcept {
  for (;;) {
    const std::size_t first = index * arity + 1;
    std::size_t least = first;
    if (first + arity <= heap_.size()) {
      const std::size_t below = first * arity + 1;
      if (below + arity * arity <= heap_.size()) prefetch_lines(&heap_[below]);
      least = earlier(earlier(first, first + 1), earlier(first + 2, first + 3));
    } else if (first < heap_.size()) {
      for (std::size_t child = first + 1; child < heap_.size(); ++child) {
        least = earlier(least, child);
      }
    } else {
      break;
    }
    if (!before(heap_[least], e)) break;
    if (least < soon) prefetch(*heap_[least].node);
    place(index, heap_[least]);
    index = least;
  }
  place(index, e);
}

void timer_queue::count(const timer_node& node, bool in) noexcept {
  const std::size_t one = in ? 1 : static_cast<std::size_t>(-1);
  if (!node.background_) foreground_ += one;
  if (node.resolution_ == resolution::fine) fine_ += one;
}

void timer_queue::set(timer_node& node, time_point deadline, resolution exactness) {
  if (keeps_position(node, deadline, exactness)) return;
  if (orders_ == last_order) renumber();
  const std::uint32_t order = orders_++;
  if (node.index_ == timer_node::absent) {
    if (heap_.size() == timer_node::absent) throw std::bad_alloc();
    heap_.push_back({deadline, &node});
    node.order_ = node.filed_order_ = order;
    node.deadline_ = deadline;
    node.resolution_ = exactness;
    count(node, true);
    sift_up(heap_.size() - 1, heap_.back());
    return;
  }
  node.order_ = order;
  if (node.resolution_ != exactness) {
    count(node, false);
    node.resolution_ = exactness;
    count(node, true);
  }
  node.deadline_ = deadline;
  if (deadline < heap_[node.index_].deadline) {
    node.filed_order_ = order;
    sift_up(node.index_, {deadline, &node});
  }
}

void timer_queue::settle_all(duration passed) noexcept {
  for (list_node* next = unsettled_.next; next != &unsettled_;) {
    list_node& l = *next;
    next = l.next;
    l.next = l.prev = &l;
    auto& node = static_cast<timer_node&>(static_cast<ready_node&>(l));
    node.deadline_ = plus(node.deadline_, passed);
    if (exact(node)) sift_down(node.index_, {node.deadline_, &node});
  }
  unsettled_.next = unsettled_.prev = &unsettled_;
}

void timer_queue::renumber() noexcept {
  // Rare, so the sort is small, not fast.
  const auto sort = [this](int (*compare)(const void*, const void*)) {
    std::qsort(heap_.data(), heap_.size(), sizeof(entry), compare);
  };
  sort([](const void* a, const void* b) {
    const std::uint32_t first = static_cast<const entry*>(a)->node->order_;
    const std::uint32_t second = static_cast<const entry*>(b)->node->order_;
    return int{first > second} - int{first < second};
  });
  orders_ = 0;
  for (entry& e : heap_) {
    e.deadline = e.node->deadline_;
    e.node->order_ = e.node->filed_order_ = orders_++;
  }
  sort([](const void* a, const void* b) {  // a sorted array is a heap
    const entry& first = *static_cast<const entry*>(a);
    const entry& second = *static_cast<const entry*>(b);
    return int{before(second, first)} - int{before(first, second)};
  });
  for (std::size_t i = 0; i < heap_.size(); ++i) place(i, heap_[i]);
}

void timer_queue::remove(timer_node& node) noexcept {
  if (node.index_ == timer_node::absent) return;
  const std::size_t index = node.index_;
  node.index_ = timer_node::absent;
  count(node, false);
  const entry last = heap_.back();
  heap_.pop_back();
  if (last.node == &node) return;
  if (index != 0 && before(last, heap_[(index - 1) / arity])) {
    sift_up(index, last);
  } else {
    sift_down(index, last);
  }
}

void timer_queue::replace(timer_queue& queue, timer_node& from, timer_node& to) noexcept {
  to.deadline_ = from.deadline_;
  to.order_ = from.order_;
  to.filed_order_ = from.filed_order_;
  to.resolution_ = from.resolution_;
  to.background_ = from.background_;
  to.index_ = from.index_;
  from.index_ = timer_node::absent;
  if (to.index_ != timer_node::absent) queue.heap_[to.index_].node = &to;
}

void timer_queue::background(timer_node& node, bool on) noexcept {
  if (node.background_ == on) return;
  const bool filed = node.index_ != timer_node::absent;
  if (filed) count(node, false);
  node.background_ = on;
  if (filed) count(node, true);
}

void timer_queue::refile_top() noexcept {
  timer_node& node = *heap_[0].node;
  node.filed_order_ = node.order_;
  sift_down(0, {node.deadline_, &node});
}

timer_node* timer_queue::take_due(time_point now) noexcept {
  while (!heap_.empty() && heap_[0].deadline <= now) {
    timer_node& node = *heap_[0].node;
    if (exact(node)) {
      remove(node);
      return &node;
    }
    refile_top();
  }
  return nullptr;
}

std::optional<time_point> timer_queue::next() const noexcept {
  if (heap_.empty()) return std::nullopt;
  return heap_[0].deadline;
}

const timer_node* timer_queue::first() noexcept {
  while (!heap_.empty() && !exact(*heap_[0].node)) refile_top();
  return heap_.empty() ? nullptr : heap_[0].node;
}

}  // namespace eddy::detail
