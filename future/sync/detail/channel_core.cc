// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/sync/detail/channel_core.h>

#include <utility>

namespace eddy::detail {

void channel_claim::wait(ready_node& waiter) noexcept {
  channel_core& of = *of_;
  of.loop_->check_thread();
  if (side_ == side::sender) {
    if (of.closed_) return of.loop_->ready(waiter);
    if (!of.has_place()) return of.senders_waiting_.add(*this, waiter);
    ++of.places_;
    claim_queue::grant(*this, waiter, *of.loop_);
  } else if (of.has_message()) {
    ++of.promised_;
    claim_queue::grant(*this, waiter, *of.loop_);
  } else if (of.ended()) {
    of.loop_->ready(waiter);
  } else {
    of.receivers_waiting_.add(*this, waiter);
    ++of.receivers_;
    // Without capacity, a sender waits for a receiver.
    if (!of.senders_waiting_.empty()) of.grant_places();
  }
}

bool channel_claim::arrive() noexcept {
  if (leave() != stage::granted) return false;
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
  const bool granted = leave() == stage::granted;
  if (side_ == side::receiver) {
    if (granted) {
      --of.promised_;
      of.grant_messages();
    } else {
      --of.receivers_;
    }
  } else if (granted) {
    --of.places_;
    of.grant_places();
  }
}

void channel_core::grant_places() noexcept {
  while (!senders_waiting_.empty() && size_ + places_ < capacity_ + receivers_) {
    ++places_;
    claim_queue::grant(senders_waiting_.first(), *loop_);
  }
}

void channel_core::grant_messages() noexcept {
  while (!receivers_waiting_.empty() && size_ > promised_) {
    --receivers_;
    ++promised_;
    claim_queue::grant(receivers_waiting_.first(), *loop_);
  }
}

void channel_core::unreserve() noexcept {
  --places_;
  --reserved_;
  if (!senders_waiting_.empty()) grant_places();
  if (closed_) tell_end();
}

void channel_core::close() noexcept {
  loop_->check_thread();
  if (std::exchange(closed_, true)) return;
  senders_waiting_.tell_all(*loop_);
  tell_end();
}

void channel_core::tell_end() noexcept {
  if (!ended()) return;
  receivers_ = 0;
  receivers_waiting_.tell_all(*loop_);
}

}  // namespace eddy::detail
