// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <utility>

#include <eddy/future/detail/frame.h>
#include <eddy/future/detail/future_state.h>
#include <eddy/future/detail/suspension.h>
#include <eddy/future/outcome.h>
#include <eddy/loop/description.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/event_loop.h>

namespace eddy::detail {

/// The awaiter of a future.
template <class T>
class [[nodiscard]] future_wait final : public suspension {
public:
  explicit future_wait(future_state<T>* state) noexcept : state_(state) {}
  ~future_wait() { std::exchange(state_, nullptr)->drop_future(); }

  [[nodiscard]] bool await_ready() const noexcept {
    if (event_loop::current() != &state_->loop()) {
      misuse("a future was awaited on another loop than its own");
    }
    if (!state_->ready() || !frame::may_go_on()) return false;
    if (state_->failed()) state_->error_comes_now();
    return true;
  }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> by) noexcept {
    frame& waiter = by.promise();
    waiter.waits_for(*this);
    state_->await(waiter);
  }

  T await_resume() { return get<T>(state_->take()); }

  void describe(description& to) const override {
    state_ != nullptr ? state_->describe_awaited(to) : to.add("nothing any more");
  }
  [[nodiscard]] frame* child() const noexcept override {
    return state_ == nullptr ? nullptr : state_->body();
  }

private:
  future_state<T>* state_;  // null while it is being dropped
};

}  // namespace eddy::detail
