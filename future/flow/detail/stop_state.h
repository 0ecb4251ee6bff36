// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <string>
#include <utility>

#include <eddy/future/detail/frame.h>
#include <eddy/loop/description.h>
#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/detail/counted.h>
#include <eddy/loop/detail/wait_list.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/loop_handle.h>
#include <eddy/loop/ready_node.h>

// The state behind <eddy/future/flow/stop_token.h>.

namespace eddy::detail {

/// The state that a `stop_source`, its tokens and their waiters own together.
class stop_state : public counted<stop_state>, public recycled {
public:
  explicit stop_state(event_loop& loop) noexcept : loop_(&loop), home_(loop.handle()) {}

  [[nodiscard]] bool requested() const noexcept {
    check_thread();
    return requested_;
  }
  /// Aborts if the loop is another thread's.
  void check_thread() const noexcept { home_.check_thread(); }
  /// Aborts if another loop runs.
  void check_loop() const noexcept;

  void request() noexcept;
  /// Has the loop run `waiter` after the request, or soon if the stop was requested before.
  void add(wait_node& node, ready_node& waiter) noexcept;

private:
  event_loop* loop_;
  loop_handle home_;  // of `loop_`, which the tokens may outlive
  wait_list waiters_;
  bool requested_ = false;
};

class stop_wait final : public suspension {
public:
  explicit stop_wait(counted_ptr<stop_state> state) noexcept : state_(std::move(state)) {}

  [[nodiscard]] bool await_ready() const noexcept {
    state_->check_loop();
    return state_->requested() && frame::may_go_on();
  }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> by) noexcept {
    frame& waiter = by.promise();
    waiter.waits_for(*this);
    state_->add(node_, waiter);
  }

  void await_resume() const noexcept {}

  void describe(description& to) const override { to.add("a request to stop"); }

private:
  counted_ptr<stop_state> state_;
  wait_node node_;  // is destroyed before its list, which is in the state
};

}  // namespace eddy::detail
