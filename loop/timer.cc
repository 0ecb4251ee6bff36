// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/timer.h>

#include <utility>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

timer::timer(timer&& other) noexcept
    : timer_node(static_cast<timer_node&&>(other)),
      on_time_(std::move(other.on_time_)),
      period_(std::exchange(other.period_, duration::zero())),
      missed_(other.missed_) {}

void timer::begin(handler<void()>& on_time, duration period) {
  on_time_.swap(on_time);
  period_ = period;
  missed_ = 0;
}

void timer::start(time_span delay, handler<void()> on_time, resolution exactness) {
  detail::expect_handler(on_time, "timer::start");
  set_after(delay, exactness);
  begin(on_time, duration::zero());
}

void timer::start_at(instant when, handler<void()> on_time, resolution exactness) {
  detail::expect_handler(on_time, "timer::start_at");
  set(when, exactness);
  begin(on_time, duration::zero());
}

void timer::start_every(time_span period, handler<void()> on_time, resolution exactness) {
  detail::expect_handler(on_time, "timer::start_every");
  if (duration(period) <= duration::zero()) {
    detail::misuse("timer::start_every was given a period that is not more than zero");
  }
  set_after(period, exactness);
  begin(on_time, period);
}

void timer::restart(time_span delay) {
  // A set timer has its handler. A timer that is not set has it only while the handler runs.
  if (!pending()) {
    if (!on_time_.present()) {
      detail::misuse("timer::restart was called on a timer that is not active: call start");
    }
    on_time_.keep();
  }
  set_after(delay, exactness());
}

void timer::stop() noexcept {
  loop().check_thread();
  clear();
  period_ = duration::zero();
  const auto dropped = on_time_.take();
}

void timer::fire(ready_node& ready) {
  timer& self = static_cast<timer&>(ready);
  const bool again = self.period_ != duration::zero();
  if (again) {
    const duration late = detail::between(self.deadline(), self.loop().now());
    self.missed_ = static_cast<std::uint64_t>(late / self.period_);
    self.set(detail::plus(self.deadline(), detail::times(self.period_, self.missed_ + 1)),
             self.exactness());
  }
  self.on_time_.call(again);
}

}  // namespace eddy
