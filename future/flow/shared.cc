// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/flow/shared.h>

#include <utility>

#include <eddy/future/detail/current_loop.h>
#include <eddy/loop/detail/description.h>

namespace eddy::detail {

shared_waiter::shared_waiter(shared_core* state) noexcept : state_(state) {
  if (state == nullptr) misuse("a shared result was awaited after it was moved from");
  state->retain();
}

shared_waiter::~shared_waiter() {
  unlink();
  state_->release();
}

bool shared_waiter::may_go_on() const noexcept {
  state_->check_loop();
  return state_->ready() && frame::may_go_on();
}

void shared_waiter::wait_from_now(frame& by) noexcept {
  if (!state_->ready() && !frame::dropped()) state_->begin();
  by.waits_for(*this);
  frame_ = &by;
  state_->add(*this);
}

void shared_waiter::describe(std::string& out, int depth) const { state_->describe(out, depth); }

void shared_core::describe(std::string& out, int depth) {
  const future_core* const under_way = source();
  if (under_way != nullptr && std::exchange(told_in_, this_description) == this_description) {
    out += "a shared result that is told above\n";
    return;
  }
  out += "a shared result\n";
  if (under_way != nullptr) describe_below(out, depth, *under_way);
}

void shared_core::check_loop() const noexcept {
  event_loop& running = current_loop("shared");
  if (loop_ != nullptr && loop_ != &running) {
    misuse("a shared result was awaited on another loop than its own");
  }
}

void shared_core::begin() noexcept {
  if (loop_ != nullptr) return;
  set_loop(current_loop("shared"));
  future_core* const work = begin(*loop_);
  ready_ = work == nullptr;
  if (ready_) return;
  set_loop(work->loop());
  check_loop();
  work->await(*this);
}

void shared_core::set_loop(event_loop& loop) noexcept {
  loop_ = &loop;
  home_ = loop.remote();
}

void shared_core::raise(std::exception_ptr error) noexcept {
  if (!home_->check_thread()) {
    misuse("a shared result was destroyed after its loop, with an error that nobody took");
  }
  loop_->raise(std::move(error));
}

void shared_core::add(shared_waiter& w) noexcept {
  if (ready_) {
    loop_->ready(*w.frame_);
  } else {
    waiters_.push_back(w);
  }
}

void shared_core::wake_all() noexcept {
  ready_ = true;
  while (waiters_.linked()) {
    auto& first = static_cast<shared_waiter&>(*waiters_.next);
    first.unlink();
    loop_->ready(*first.frame_);
  }
}

}  // namespace eddy::detail
