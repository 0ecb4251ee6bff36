// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/sync/detail/permit_pool.h>

namespace eddy::detail {

void permit_claim::wait(ready_node& waiter) noexcept {
  waiter_ = &waiter;
  if (take_now()) {
    pool_->grant(*this);
  } else {
    stage_ = stage::waiting;
    pool_->claims_.push_back(*this);
  }
}

void permit_claim::cancel() noexcept {
  pool_->loop().check_thread();
  if (stage_ == stage::granted) {
    deliver();
    return pool_->give(count_);
  }
  const bool first = pool_->claims_.next == this;
  unlink();
  // The next claim may be smaller.
  if (first) pool_->grant();
}

void permit_pool::grant() noexcept {
  while (claims_.linked()) {
    auto& first = static_cast<permit_claim&>(*claims_.next);
    if (first.count_ > free_) return;
    free_ -= first.count_;
    first.unlink();
    grant(first);
  }
}

void permit_pool::grant(permit_claim& to) noexcept {
  to.stage_ = permit_claim::stage::granted;
  ++granted_;
  loop_->ready(*to.waiter_);
}

void permit_pool::release_all() noexcept {
  loop_->check_thread();
  while (claims_.linked()) {
    auto& first = static_cast<permit_claim&>(*claims_.next);
    first.unlink();
    first.stage_ = permit_claim::stage::outside;
    loop_->ready(*first.waiter_);
  }
}

}  // namespace eddy::detail
