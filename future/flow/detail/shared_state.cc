// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/flow/detail/shared_state.h>

#include <utility>

#include <eddy/loop/description.h>
#include <eddy/loop/detail/current_loop.h>

namespace eddy::detail {

shared_waiter::shared_waiter(counted_ptr<shared_core> state) noexcept : state_(std::move(state)) {
  if (!state_) misuse("a shared result was awaited after it was moved from");
}

bool shared_waiter::may_go_on() const noexcept {
  state_->check_loop();
  return state_->ready() && frame::may_go_on();
}

void shared_waiter::suspend(frame& waiter) noexcept {
  waiter.waits_for(*this);
  if (frame::dropped()) return;  // it is destroyed next
  if (!state_->ready()) state_->start();
  state_->add(node_, waiter);
}

void shared_core::describe(description& to) {
  const future_core* const work = source();
  if (work == nullptr) return to.add("a shared result");
  if (!to.is_first(mark_)) return to.add("a shared result, shown above");
  to.add("a shared result");
  describe_below(to, *work);
}

void shared_core::check_loop() const noexcept {
  event_loop& running = current_loop("shared");
  if (loop_ != nullptr && loop_ != &running) {
    misuse("a shared result was awaited on another loop than its own");
  }
}

void shared_core::start() noexcept {
  if (loop_ != nullptr) return;
  set_loop(current_loop("shared"));
  future_core* const work = start(*loop_);
  ready_ = work == nullptr;
  if (ready_) return;
  set_loop(work->loop());
  check_loop();
  work->await(*this);
}

void shared_core::set_loop(event_loop& loop) noexcept {
  loop_ = &loop;
  home_ = loop.handle();
}

void shared_core::raise(std::exception_ptr error) noexcept {
  if (!home_->check_thread()) {
    misuse("a shared result was destroyed after its loop, with an error that nobody took");
  }
  loop_->raise(std::move(error));
}

void shared_core::add(wait_node& node, frame& waiter) noexcept {
  if (ready_) {
    loop_->ready(waiter);
  } else {
    waiters_.add(node, waiter, *loop_);
  }
}

void shared_core::complete() noexcept {
  ready_ = true;
  waiters_.wake_all();
}

}  // namespace eddy::detail
