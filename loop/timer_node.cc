// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/timer_node.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <new>

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

bool timer_node::gives_way(patience& p) noexcept {
  constexpr std::chrono::milliseconds more{10};  // twenty turns
  constexpr std::uint8_t most_calls = 8;
  constexpr std::size_t first_look = 64;  // descriptors; a full look doubles that of the next
  const time_point now = loop_->read_clock();
  const bool late = detail::between(deadline_, now) > more;
  const bool first = p.calls == 0;
  if (first) {
    // A limit with an earlier deadline ends earlier, and its end counts as well.
    const bool behind = loop_->limit_gave_way_;
    const bool behind_late = now <= loop_->late_limits_until_;
    const bool alone = !loop_->queued() && loop_->mailbox_->empty();
    if (!late && !behind && !behind_late && alone) return false;
    p.late = late || behind_late;
    // When one look begins, all that was found before is served.
    const auto looks = 2U + std::bit_width(loop_->watches_ / first_look);
    p.until = static_cast<std::uint16_t>((p.late ? loop_->looks_ + looks : loop_->drains_ + 1U) +
                                         (behind || behind_late ? 1U : 0U));
  } else {
    const std::uint16_t seen = p.late ? loop_->looks_ : loop_->drains_;
    const bool reached = static_cast<std::int16_t>(static_cast<std::uint16_t>(seen - p.until)) >= 0;
    // A turn may be short, and the 10 ms are bound enough; but they never pass on a held clock.
    const bool counts = p.late || loop_->clock_ != nullptr;
    if (reached || (counts && p.calls == most_calls) || (late && !p.late)) return false;
  }
  if (p.calls < most_calls) ++p.calls;
  try {
    if (!p.late || loop_->clock_ != nullptr) {
      set(deadline_);  // in the next turn
    } else if (first && !late) {
      set(loop_->late_limits_until_);
    } else {
      set_after(more);
    }
    loop_->limit_gave_way_ = true;
    if (first && late) loop_->late_limits_until_ = loop_->clock_ == nullptr ? now + more : now;
    return true;
  } catch (const std::bad_alloc&) {
    return false;  // the limit is over now
  }
}

void timer_node::run_instead(ready_node& node) noexcept { loop_->come_first(node); }

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
