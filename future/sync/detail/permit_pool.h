// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>

#include <eddy/future/sync/detail/claim.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/ready_node.h>

namespace eddy::detail {

class permit_pool;

/// A waiter's entry in a `permit_pool`. The waiter embeds it, and destroys it to cancel the wait:
/// permits that it was granted, and has not taken yet, go to the next waiter.
class permit_claim : public claim {
public:
  permit_claim(permit_pool& from, std::size_t count) noexcept : pool_(&from), count_(count) {}
  ~permit_claim() {
    if (now() != stage::outside) cancel();
  }

  /// Takes the permits, if they are there and nobody waits for earlier ones.
  bool take_now() noexcept;
  /// Has the loop run `waiter` when the permits are granted.
  void wait(ready_node& waiter) noexcept;
  /// The waiter has resumed and takes the permits.
  void deliver() noexcept;

  [[nodiscard]] permit_pool& pool() const noexcept { return *pool_; }
  [[nodiscard]] std::size_t count() const noexcept { return count_; }

private:
  void cancel() noexcept;

  permit_pool* pool_;
  std::size_t count_;
};

/// Hands out permits, first come, first served: what a semaphore, a mutex and a `notify` share.
///
/// A large claim at the front holds back the claims behind it, so that it is not passed over for
/// ever. Granting queues the waiter on the loop; it takes the permits when it resumes. No memory is
/// allocated, and no user code runs in any of these functions.
class permit_pool {
public:
  /// Never has more than `most` free permits: `give` drops what is beyond.
  permit_pool(event_loop& loop, std::size_t free, std::size_t most) noexcept
      : loop_(&loop), free_(free), most_(most) {}
  permit_pool(const permit_pool&) = delete;
  permit_pool& operator=(const permit_pool&) = delete;
  ~permit_pool() = default;

  [[nodiscard]] bool has(std::size_t count) const noexcept {
    return free_ >= count && claims_.empty();
  }
  bool take(std::size_t count) noexcept {
    loop_->check_thread();
    if (!has(count)) return false;
    free_ -= count;
    return true;
  }
  void give(std::size_t count) noexcept {
    loop_->check_thread();
    free_ = count > most_ - free_ ? most_ : free_ + count;
    if (!claims_.empty()) grant();
  }
  /// Wakes all claims that wait, without permits.
  void release_all() noexcept;

  [[nodiscard]] event_loop& loop() const noexcept { return *loop_; }
  [[nodiscard]] std::size_t free() const noexcept {
    loop_->check_thread();
    return free_;
  }
  /// Whether there are claims that wait, or have not taken what was granted to them.
  [[nodiscard]] bool awaited() const noexcept { return !claims_.empty() || granted_ != 0; }

private:
  friend permit_claim;

  void grant() noexcept;

  event_loop* loop_;
  std::size_t free_;
  std::size_t most_;
  std::size_t granted_ = 0;  // claims that were granted, and have not taken their permits
  claim_queue claims_;
};

inline bool permit_claim::take_now() noexcept { return pool_->take(count_); }

inline void permit_claim::deliver() noexcept {
  if (leave() == stage::granted) --pool_->granted_;
}

}  // namespace eddy::detail
