// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/flow/detail/stop_state.h>

#include <eddy/loop/detail/misuse.h>

namespace eddy::detail {

void stop_state::check_loop() const noexcept {
  if (event_loop::current() != loop_) {
    misuse("a stop_token was awaited on another loop than its own");
  }
}

void stop_state::request() noexcept {
  loop_->check_thread();
  requested_ = true;
  waiters_.wake_all();
}

void stop_state::add(wait_node& node, ready_node& waiter) noexcept {
  loop_->check_thread();
  if (requested_) return loop_->ready(waiter);
  waiters_.add(node, waiter, *loop_);
}

}  // namespace eddy::detail
