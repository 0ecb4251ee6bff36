// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/before_wait.h>

#include <utility>

#include <eddy/loop/detail/before_wait_list.h>
#include <eddy/loop/detail/loop_access.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

before_wait::before_wait(before_wait&& other) noexcept
    : loop_(other.loop_),
      on_turn_(std::move(other.on_turn_)),
      called_in_(other.called_in_),
      once_(other.once_) {
  if (!other.linked()) return;
  loop_->check_thread();
  replace(other);
}

before_wait::~before_wait() {
  if (!linked()) return;
  loop_->check_thread();
  unlink();
}

void before_wait::start(handler<void()> on_turn) {
  detail::expect_handler(on_turn, "before_wait::start");
  begin(on_turn, false);
}

void before_wait::start_once(handler<void()> on_turn) {
  detail::expect_handler(on_turn, "before_wait::start_once");
  begin(on_turn, true);
}

void before_wait::begin(handler<void()>& on_turn, bool once) noexcept {
  loop_->check_thread();
  on_turn_.swap(on_turn);  // the caller destroys the old handler
  once_ = once;
  if (linked()) return;
  const detail::loop_access on(*loop_);
  detail::before_wait_list& all = on.before_waits();
  const bool again = all.running && called_in_ == all.round;
  (again ? all.called : all.next).push_back(*this);
  if (all.running && !again) return;  // the round that runs calls it
  all.owed = true;
  on.revive();
}

void before_wait::stop() noexcept {
  loop_->check_thread();
  unlink();
  const auto dropped = on_turn_.take();
}

bool before_wait::active() const noexcept {
  loop_->check_thread();
  return linked();
}

void before_wait::call() {
  detail::before_wait_list& all = detail::loop_access(*loop_).before_waits();
  called_in_ = all.round;
  unlink();
  if (!once_) all.called.push_back(*this);
  on_turn_.call(!once_);
}

}  // namespace eddy
