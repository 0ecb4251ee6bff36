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
  set(loop_->after(delay), exactness);
}

void timer_node::clear() noexcept {
  withdraw();
  if (index_ != absent) loop_->timers_.remove(*this);
}

void timer_node::background(bool on) noexcept { loop_->timers_.background(*this, on); }

}  // namespace eddy
