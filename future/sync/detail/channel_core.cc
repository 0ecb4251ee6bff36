// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/sync/detail/channel_core.h>

#include <utility>

namespace eddy::detail {

void channel_claim::wait(ready_node& waiter) noexcept {
  channel_core& of = *of_;
  of.loop_->check_thread();
  waiter_ = &waiter;
  if (side_ == side::sender) {
    if (of.closed_) return of.loop_->ready(waiter);
    if (of.has_place()) return of.grant(*this);
    stage_ = stage::waiting;
    of.senders_waiting_.push_back(*this);
  } else {
    if (of.has_message()) return of.grant(*this);
    if (of.ended()) return of.loop_->ready(waiter);
    stage_ = stage::waiting;
    of.receivers_waiting_.push_back(*this);
    ++of.receivers_;
    // Without capacity, a sender waits for a receiver.
    if (of.senders_waiting_.linked()) of.grant_places();
  }
}

bool channel_claim::arrive() noexcept {
  if (std::exchange(stage_, stage::outside) != stage::granted) return false;
  if (side_ == side::receiver) {
    --of_->promised_;
    return true;
  }
  --of_->places_;
  return !of_->closed_;
}

void channel_claim::cancel() noexcept {
  channel_core& of = *of_;
  of.loop_->check_thread();
  const bool granted = std::exchange(stage_, stage::outside) == stage::granted;
  if (side_ == side::receiver) {
    if (granted) {
      --of.promised_;
      of.grant_messages();
    } else {
      unlink();
      --of.receivers_;
    }
  } else if (granted) {
    --of.places_;
    of.grant_places();
  } else {
    unlink();
  }
}

void channel_core::grant(channel_claim& to) noexcept {
  to.stage_ = channel_claim::stage::granted;
  ++(to.side_ == channel_claim::side::sender ? places_ : promised_);
  loop_->ready(*to.waiter_);
}

void channel_core::grant_places() noexcept {
  while (senders_waiting_.linked() && size_ + places_ < capacity_ + receivers_) {
    auto& first = static_cast<channel_claim&>(*senders_waiting_.next);
    first.unlink();
    grant(first);
  }
}

void channel_core::grant_messages() noexcept {
  while (receivers_waiting_.linked() && size_ > promised_) {
    auto& first = static_cast<channel_claim&>(*receivers_waiting_.next);
    first.unlink();
    --receivers_;
    grant(first);
  }
}

void channel_core::unreserve() noexcept {
  --places_;
  --reserved_;
  if (senders_waiting_.linked()) grant_places();
  if (closed_) tell_end();
}

void channel_core::close() noexcept {
  loop_->check_thread();
  if (std::exchange(closed_, true)) return;
  while (senders_waiting_.linked()) {
    auto& first = static_cast<channel_claim&>(*senders_waiting_.next);
    first.unlink();
    first.stage_ = channel_claim::stage::outside;
    loop_->ready(*first.waiter_);
  }
  tell_end();
}

void channel_core::tell_end() noexcept {
  if (!ended()) return;
  while (receivers_waiting_.linked()) {
    auto& first = static_cast<channel_claim&>(*receivers_waiting_.next);
    first.unlink();
    --receivers_;
    first.stage_ = channel_claim::stage::outside;
    loop_->ready(*first.waiter_);
  }
}

}  // namespace eddy::detail
