// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/timer_node.h>

#include <algorithm>
#include <chrono>
#include <new>

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

bool timer_node::gives_way(patience& p) noexcept {
  constexpr std::chrono::milliseconds more{10};  // twenty turns
  constexpr std::uint8_t most_looks = 8;
  using step = patience::step;
  try {
    switch (p.now) {
      case step::none:
        if (detail::between(deadline_, loop_->read_clock()) <= more) return false;
        p.now = step::looks;
        if (loop_->clock_ == nullptr) {
          set_after(more);
          return true;
        }
        [[fallthrough]];
      case step::looks:
        if (loop_->queues_[event_loop::arrivals].linked() && p.looks++ < most_looks) {
          p.now = step::behind;
          loop_->arrive(*this);
        } else {
          p.now = step::last;
          loop_->ready(*this);
        }
        return true;
      case step::behind:
        p.now = step::looks;
        set(loop_->now());
        return true;
      case step::last: break;
    }
  } catch (const std::bad_alloc&) {  // the limit is over now
  }
  return false;
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
