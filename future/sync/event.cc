// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/sync/event.h>

#include <eddy/loop/description.h>
#include <eddy/loop/detail/misuse.h>

namespace eddy {

event::~event() {
  loop_->check_thread();
  if (waiters_.awaited()) detail::misuse("an event was destroyed before its waiters");
}

void event::set() noexcept {
  loop_->check_thread();
  set_ = true;
  waiters_.wake_all();
}

void event::reset() noexcept {
  loop_->check_thread();
  set_ = false;
}

namespace detail {

void event_wait::check_loop() const noexcept {
  if (event_loop::current() != of_->loop_) {
    misuse("an event was awaited on another loop than its own");
  }
}

void event_wait::describe(description& to) const { to.add("an event"); }

}  // namespace detail

}  // namespace eddy
