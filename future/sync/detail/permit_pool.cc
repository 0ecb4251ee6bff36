// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/sync/detail/permit_pool.h>

namespace eddy::detail {

void permit_claim::wait(ready_node& waiter) noexcept {
  if (!take_now()) return pool_->claims_.add(*this, waiter);
  ++pool_->granted_;
  claim_queue::grant(*this, waiter, pool_->loop());
}

void permit_claim::cancel() noexcept {
  pool_->loop().check_thread();
  const bool first = !pool_->claims_.empty() && &pool_->claims_.first() == this;
  if (leave() == stage::granted) {
    --pool_->granted_;
    pool_->give(count_);
  } else if (first) {
    pool_->grant();  // the next claim may be smaller
  }
}

void permit_pool::grant() noexcept {
  while (!claims_.empty()) {
    auto& first = static_cast<permit_claim&>(claims_.first());
    if (first.count() > free_) return;
    free_ -= first.count();
    ++granted_;
    claim_queue::grant(first, *loop_);
  }
}

void permit_pool::release_all() noexcept {
  loop_->check_thread();
  claims_.tell_all(*loop_);
}

}  // namespace eddy::detail
