// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/timer.h>

#include <utility>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

timer::timer(timer&& other) noexcept
    : timer_node(std::move(other)),
      on_time_(std::exchange(other.on_time_, nullptr)),
      period_(std::exchange(other.period_, duration::zero())),
      missed_(other.missed_),
      resolution_(other.resolution_),
      firing_(std::exchange(other.firing_, nullptr)) {
  if (firing_ != nullptr) *firing_ = this;
}

timer::~timer() {
  if (firing_ != nullptr) *firing_ = nullptr;
}

void timer::begin(time_point when, handler<void()>&& on_time, resolution exactness) {
  set(when, exactness);
  on_time_ = std::move(on_time);
  resolution_ = exactness;
  missed_ = 0;
}

void timer::start(duration delay, handler<void()> on_time, resolution exactness) {
  begin(loop().after(delay), std::move(on_time), exactness);
  period_ = duration::zero();
}

void timer::start_at(time_point when, handler<void()> on_time, resolution exactness) {
  begin(when, std::move(on_time), exactness);
  period_ = duration::zero();
}

void timer::start_every(duration period, handler<void()> on_time, resolution exactness) {
  if (period <= duration::zero()) {
    detail::misuse("timer::start_every was given a period that is not more than zero");
  }
  begin(loop().after(period), std::move(on_time), exactness);
  period_ = period;
}

void timer::restart(duration delay) {
  if (!on_time_ && firing_ == nullptr) {
    detail::misuse("timer::restart was called on a timer that does not run: start gives it a handler");
  }
  set(loop().after(delay), resolution_);
}

void timer::stop() noexcept {
  clear();
  period_ = duration::zero();
  on_time_ = nullptr;
}

void timer::fire(ready_node& ready) {
  timer* self = &static_cast<timer&>(ready);

  if (self->period_ != duration::zero()) {
    const duration late = self->loop().now() - self->deadline();
    self->missed_ = static_cast<std::uint64_t>(late / self->period_);
    self->set(self->deadline() + self->period_ * (late / self->period_ + 1), self->resolution_);
  }

  struct call {
    timer*& self;
    handler<void()> on_time;
    timer** outer;  // a handler that runs its own loop turn can be fired within itself

    call(timer*& s) : self(s), on_time(std::exchange(s->on_time_, nullptr)), outer(s->firing_) {
      self->firing_ = &self;
    }
    call(const call&) = delete;
    call& operator=(const call&) = delete;
    ~call() {
      if (self == nullptr) return;
      self->firing_ = outer;
      if (self->pending() && !self->on_time_) self->on_time_ = std::move(on_time);
    }
  };
  call now(self);
  now.on_time();
}

}  // namespace eddy
