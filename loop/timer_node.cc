// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/timer_node.h>

#include <algorithm>

#include <eddy/loop/detail/mailbox.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

timer_node::timer_node(timer_node&& other) noexcept
    : ready_node((static_cast<void>(other.checked_pending()), static_cast<ready_node&&>(other))),
      loop_(other.loop_) {
  detail::timer_queue::replace(loop_->timers_, other, *this);
}

bool timer_node::checked_pending() const noexcept {
  if (pending()) loop_->check_thread();
  return pending();
}

void timer_node::set(instant deadline, resolution exactness) {
  loop_->check_thread();
  withdraw();
  loop_->timers_.set(*this, deadline, exactness);
  loop_->revive();
}

void timer_node::set_after(time_span delay, resolution exactness) {
  event_loop* const here = event_loop::current();
  if (loop_ != here || exactness == resolution::fine || here->clock_ != nullptr) {
    set(loop_->after(delay), exactness);
    return;
  }
  if (queued()) withdraw();
  here->timers_.set_unsettled(
      *this, detail::plus(here->now(), std::max<duration>(delay, duration::zero())), exactness);
}

time_point timer_node::deadline() const noexcept {
  loop_->check_thread();
  if (index_ != absent && ready_node::queued()) loop_->settle_delays();
  return deadline_;
}

void timer_node::clear_pending() noexcept {
  loop_->check_thread();
  withdraw();
  if (index_ != absent) loop_->timers_.remove(*this);
}

void timer_node::background(bool on) noexcept {
  loop_->check_thread();
  loop_->timers_.background(*this, on);
}

}  // namespace eddy
