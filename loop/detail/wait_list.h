// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <eddy/loop/detail/list_node.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/ready_node.h>

namespace eddy::detail {

class wait_list;

/// A waiter's entry in a `wait_list`. The waiter embeds it, and destroys it to cancel the wait.
class wait_node : private list_node {
public:
  wait_node() noexcept = default;
  ~wait_node();

  /// The waiter has resumed and takes what `wake_one` announced.
  void deliver() noexcept { woken_by_ = nullptr; }

private:
  friend wait_list;

  ready_node* waiter_ = nullptr;
  wait_list* woken_by_ = nullptr;  // from `wake_one` to `deliver`
};

/// The waiters of one object, such as a `stop_source`. They are woken in the order in which they
/// began to wait.
///
/// Waking queues the waiter on the loop and hands nothing over: the waiter takes the item, permit
/// or message when it resumes. If a waiter that `wake_one` woke is destroyed before that, the next
/// waiter is woken instead; so nothing is taken before it is delivered, and nothing is lost.
///
/// No memory is allocated, and no user code runs in any of these functions.
/// Lifetime: the list and its loop outlive the nodes.
class wait_list {
public:
  wait_list() noexcept = default;
  wait_list(const wait_list&) = delete;
  wait_list& operator=(const wait_list&) = delete;

  /// Appends `node`. When it is woken, `loop` runs `waiter`. All waiters of a list have one loop.
  void add(wait_node& node, ready_node& waiter, event_loop& loop) noexcept {
    node.waiter_ = &waiter;
    node.woken_by_ = nullptr;
    loop_ = &loop;
    nodes_.push_back(node);
  }

  [[nodiscard]] bool awaited() const noexcept { return nodes_.linked(); }

  /// Wakes the first waiter, for one thing that one waiter may take. False if there is no waiter.
  bool wake_one() noexcept {
    wait_node* const first = wake_first();
    if (first == nullptr) return false;
    first->woken_by_ = this;
    return true;
  }

  /// Wakes all waiters, for something that each of them sees, such as a result or a request.
  void wake_all() noexcept {
    while (wake_first() != nullptr) {
    }
  }

private:
  wait_node* wake_first() noexcept {
    if (!nodes_.linked()) return nullptr;
    auto& first = static_cast<wait_node&>(*nodes_.next);
    first.unlink();
    loop_->ready(*first.waiter_);
    return &first;
  }

  list_node nodes_;
  event_loop* loop_ = nullptr;  // once there was a waiter
};

inline wait_node::~wait_node() {
  unlink();
  if (woken_by_ != nullptr) woken_by_->wake_one();
}

}  // namespace eddy::detail
