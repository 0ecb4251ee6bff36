// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/detail/future_core.h>

#include <eddy/future/detail/ring_finder.h>
#include <eddy/future/scope.h>
#include <eddy/loop/description.h>
#include <eddy/loop/detail/deep_stack.h>

namespace eddy::detail {

future_core::~future_core() {
  if (inherits_) task_values::forget(*this);
  if (stage_ != stage::error) return;
  raise_unseen();
  error_.~exception_ptr();
}

void future_core::raise_unseen() noexcept {
  if (!wanted_ || seen_) return;
  seen_ = true;
  loop().raise(std::move(error_));
}

void future_core::add_to(ambient& all) const noexcept {
  // A spawned task does not see the task_locals of the coroutine that awaits it.
  static const local_values none;
  all.note(inherits_ ? task_values::of(*this) : none);
  if (next_is_ != follower::scope || scope_ == nullptr) return;
  if (const auto deadline = scope_->deadline()) all.note(*deadline);
}

void future_core::describe(description& to) const {
  if (waiter() != nullptr) return;  // the waiter describes this
  if (const frame* const coroutine = body()) return coroutine->describe(to);
  if (detached_) describe_awaited(to);
}

frame* future_core::waiter() const noexcept {
  if (!wanted_ || next_ == nullptr) return nullptr;
  switch (next_is_) {
    case follower::frame: return static_cast<frame*>(next_);
    case follower::scope: return scope_->joiner();
    default: return nullptr;
  }
}

void future_core::expect_no_ring(const frame& waiter) const noexcept {
  // A chain may be a million long, and each await in it comes here.
  int left = 64;
  for (const frame* f = &waiter; f != nullptr && left-- != 0; f = f->above()) {
    if (f == body_) stop_at_ring();
  }
}

void future_core::detach() noexcept {
  next_ = nullptr;
  if (ready()) {
    seen_ = false;
    return release_reader();
  }
  detached_ = true;
  list();
}

bool future_core::abandon() noexcept {
  if (!detached_) return false;
  if (!ready()) drop_unready();
  undetach();
  return true;
}

void future_core::undetach() noexcept {
  detached_ = false;
  unlist();
  release_reader();
}

void future_core::set_error(std::exception_ptr error) noexcept {
  std::construct_at(&error_, std::move(error));
  stage_ = stage::error;
  if (next_is_ == follower::frame && next_ != nullptr)
    static_cast<frame*>(next_)->error_comes(error_);
}

void future_core::drop_unready() noexcept {
  wanted_ = false;
  without_overflow([this] { cancel(); });
}

void future_core::drop() noexcept {
  if (body_ == nullptr || dropping_) return;
  activation* const holds = frame::activation_below(*body_);
  cancellation* under_way = nullptr;
  if (holds == nullptr) {
    for (cancellation* c = frames_here.cancellations; c != nullptr; c = c->outer_) {
      if (c->waiter_ != nullptr && c->waiter_->is_below(*body_)) under_way = c;
    }
    if (under_way == nullptr) return drop_body();
  }
  dropping_ = true;
  next_is_ = follower::dropped;
  next_dropped_ = std::exchange(holds != nullptr ? holds->dropped : under_way->dropped_, this);
  if (holds == nullptr) return;
  loop().forbid_going_on();
  holds->stack_end = UINTPTR_MAX;
  holds->chores = true;
}

void future_core::drop_body() noexcept {
  frame::destroy(*std::exchange(body_, nullptr));
  release();
}

void future_core::destroy_body() noexcept {
  std::exchange(body_, nullptr)->end();
  release();
}

void future_core::end_body() noexcept {
  frame& body = *std::exchange(body_, nullptr);  // the value's move may drop the future
  take_from(body);
  frame::destroy(body);
  complete();
  release();
}

}  // namespace eddy::detail
