// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/timer_node.h>

#include <algorithm>

#include <eddy/loop/detail/loop_access.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

timer_node::timer_node(timer_node&& other) noexcept
    : ready_node((static_cast<void>(other.checked_pending()), static_cast<ready_node&&>(other))),
      loop_(other.loop_) {
  detail::timer_queue::replace(detail::loop_access(*loop_).timers(), other, *this);
}

bool timer_node::checked_pending() const noexcept {
  if (pending()) loop_->check_thread();
  return pending();
}

void timer_node::set(instant deadline, resolution exactness) {
  loop_->check_thread();
  withdraw();
  const detail::loop_access inside(*loop_);
  inside.timers().set(*this, deadline, exactness);
  inside.revive();
}

void timer_node::set_after(time_span delay, resolution exactness) {
  event_loop* const here = event_loop::current();
  if (loop_ != here || exactness == resolution::fine || detail::loop_access(*here).holds_clock()) {
    set(loop_->after(delay), exactness);
    return;
  }
  if (queued()) withdraw();
  detail::loop_access(*here).timers().set_unsettled(
      *this, detail::plus(here->now(), std::max<duration>(delay, duration::zero())), exactness);
}

time_point timer_node::deadline() const noexcept {
  loop_->check_thread();
  if (index_ != absent && ready_node::queued()) detail::loop_access(*loop_).settle_delays();
  return deadline_;
}

void timer_node::clear_pending() noexcept {
  loop_->check_thread();
  withdraw();
  if (index_ != absent) detail::loop_access(*loop_).timers().remove(*this);
}

void timer_node::background(bool on) noexcept {
  loop_->check_thread();
  const detail::loop_access inside(*loop_);
  inside.timers().background(*this, on);
  if (!on) inside.revive();
}

}  // namespace eddy
