// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/watch.h>

#include <utility>

#include <eddy/loop/detail/engine.h>
#include <eddy/loop/event_loop.h>

namespace eddy::detail {

watch::watch(engine& e, int number) : owner(&e), descriptor(number) {
  e.attach(*this);
  ++e.loop_->watches_;
}

watch::watch(event_loop& loop, int number) : watch(*loop.engine_, number) {}

event_loop& watch::loop() const noexcept { return owner->loop(); }

void watch::end() noexcept {
  if (descriptor < 0) return;
  for (const auto which : directions) forget(which);
  owner->detach(*this);
  descriptor = -1;
  --owner->loop_->watches_;
}

void watch::wait(direction which, ready_node& node) noexcept {
  event_loop& loop = *owner->loop_;
  loop.check_thread();
  if (error != 0) {
    loop.ready(node);
    return;
  }
  waiter(which) = &node;
  if (!background) ++loop.waits_;
  owner->want(descriptor, which);
}

void watch::forget(direction which) noexcept {
  if (std::exchange(waiter(which), nullptr) != nullptr && !background) --owner->loop_->waits_;
}

void watch::set_background(bool on) noexcept {
  if (background == on) return;
  background = on;
  for (const ready_node* node : waiters) {
    if (node != nullptr) owner->loop_->waits_ += on ? static_cast<std::size_t>(-1) : 1;
  }
}

void watch::fail(int why) noexcept {
  error = static_cast<std::uint16_t>(why);
  for (const auto which : directions) {
    if (ready_node* const node = waiter(which)) {
      forget(which);
      owner->loop_->ready(*node);
    }
  }
}

}  // namespace eddy::detail
