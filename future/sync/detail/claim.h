// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <utility>

#include <eddy/loop/detail/list_node.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/ready_node.h>

namespace eddy::detail {

class claim_queue;

/// A waiter's entry in a `claim_queue`: the base class of what a waiter embeds.
///
/// A claim is granted when its waiter is queued on the loop, and used when the waiter resumes. The
/// destructor of a derived class cancels a claim that is waiting or granted.
class claim : private list_node {
public:
  claim(const claim&) = delete;
  claim& operator=(const claim&) = delete;

protected:
  enum class stage : std::uint8_t { outside, waiting, granted };

  claim() noexcept = default;
  ~claim() = default;

  [[nodiscard]] stage now() const noexcept { return stage_; }
  /// Leaves the queue. Returns the stage before.
  stage leave() noexcept {
    unlink();
    return std::exchange(stage_, stage::outside);
  }

private:
  friend claim_queue;

  ready_node* waiter_ = nullptr;
  stage stage_ = stage::outside;
};

/// Claims that wait, in the order in which they came.
///
/// No memory is allocated, and no user code runs in any of these functions.
class claim_queue {
public:
  claim_queue() noexcept = default;
  claim_queue(const claim_queue&) = delete;
  claim_queue& operator=(const claim_queue&) = delete;

  [[nodiscard]] bool empty() const noexcept { return !waiting_.linked(); }
  /// The claim that came first. There must be one.
  [[nodiscard]] claim& first() const noexcept { return static_cast<claim&>(*waiting_.next); }

  /// Lets a claim wait. The loop runs `waiter` after the claim was granted or told.
  void add(claim& last, ready_node& waiter) noexcept {
    last.waiter_ = &waiter;
    last.stage_ = claim::stage::waiting;
    waiting_.push_back(last);
  }
  /// Has the loop run a waiter, which finds its claim granted.
  static void grant(claim& to, event_loop& loop) noexcept {
    to.unlink();
    to.stage_ = claim::stage::granted;
    loop.ready(*to.waiter_);
  }
  static void grant(claim& to, ready_node& waiter, event_loop& loop) noexcept {
    to.waiter_ = &waiter;
    grant(to, loop);
  }
  /// Has the loop run all waiters, which find their claims not granted.
  void tell_all(event_loop& loop) noexcept {
    while (!empty()) {
      claim& next = first();
      next.leave();
      loop.ready(*next.waiter_);
    }
  }

private:
  list_node waiting_;
};

}  // namespace eddy::detail
