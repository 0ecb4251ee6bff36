// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/timer_node.h>

#include <eddy/loop/event_loop.h>

namespace eddy {

timer_node::timer_node(timer_node&& other) noexcept
    : ready_node(static_cast<ready_node&&>(other)), loop_(other.loop_) {
  detail::timer_queue::replace(loop_->timers_, other, *this);
}

void timer_node::set(time_point deadline, resolution exactness) {
  loop_->check_thread();
  withdraw();
  loop_->timers_.set(*this, deadline, exactness);
}

void timer_node::set_after(duration delay, resolution exactness) {
  event_loop* const here = event_loop::current();
  if (loop_ != here || exactness == resolution::fine || here->clock_ != nullptr) {
    set(loop_->after(delay), exactness);
    return;
  }
  if (queued()) withdraw();
  here->timers_.set_unsettled(*this, detail::later(here->now(), delay), exactness);
}

time_point timer_node::deadline() const noexcept {
  if (index_ != absent && ready_node::queued()) loop_->settle_delays();
  return deadline_;
}

void timer_node::clear() noexcept {
  withdraw();
  if (index_ != absent) loop_->timers_.remove(*this);
}

void timer_node::background(bool on) noexcept { loop_->timers_.background(*this, on); }

}  // namespace eddy
