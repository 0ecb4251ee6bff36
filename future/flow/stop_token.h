// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <cstddef>
#include <stop_token>
#include <string>
#include <utility>

#include <eddy/future/detail/frame.h>
#include <eddy/future/task.h>
#include <eddy/loop/detail/link.h>
#include <eddy/loop/detail/own_handler.h>
#include <eddy/loop/detail/recycler.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/ready.h>
#include <eddy/loop/remote.h>

namespace eddy {

namespace detail {

/// What a source and its tokens share.
class stop_state : public recycled {
public:
  explicit stop_state(event_loop& loop) noexcept : loop_(&loop), home_(loop.remote()) {}

  [[nodiscard]] bool requested() const noexcept {
    check_thread();
    return requested_;
  }
  void check_thread() const noexcept { home_.check_thread(); }
  void request() noexcept;
  /// Stops the program if another loop runs.
  void expect_own_loop() const noexcept;

  /// A place among those to be queued when stop is requested.
  class waiter : public link {
  public:
    waiter() noexcept = default;
    ~waiter() { unlink(); }

  private:
    friend stop_state;
    ready_node* node_ = nullptr;
  };
  /// Queues `node`, now or then; `place` goes before it.
  void wait(waiter& place, ready_node& node) noexcept;

  /// One that owns it.
  class owner {
  public:
    explicit owner(stop_state* s) noexcept : state_(s) {}
    owner(const owner& other) noexcept : state_(other.state_) { state_->retain(); }
    owner& operator=(const owner& other) noexcept {
      owner(other).swap(*this);
      return *this;
    }
    ~owner() { state_->release(); }
    stop_state* operator->() const noexcept { return state_; }

  private:
    void swap(owner& other) noexcept { std::swap(state_, other.state_); }

    stop_state* state_;
  };

private:
  // Out of line, because g++ 14 takes the counter for uninitialized in coroutines.
  void retain() noexcept;
  void release() noexcept;

  event_loop* loop_;
  remote home_;  // which the tokens may outlive
  link waiters_;
  std::size_t owners_ = 1;
  bool requested_ = false;
};

class stop_wait;

}  // namespace detail

/// Tells work that it should come to its own end, where it can: to finish the
/// request, and take no other. It is the polite way; dropping is the other one.
///
/// Copies are alike, and may outlive their source; if that goes without a
/// request, none ever comes.
///
///     while (!stop.stop_requested()) {
///       ...
///     }
///     co_await stop;  // goes on when it is requested, or at once if it was
///
/// Those who wait go on in the order in which they came.
/// Cancelling: a wait that is dropped leaves no trace.
class stop_token {
public:
  [[nodiscard]] bool stop_requested() const noexcept { return state_->requested(); }

  detail::stop_wait operator co_await() const noexcept;

private:
  friend class stop_source;
  friend class stop_callback;
  friend detail::stop_wait;
  explicit stop_token(const detail::stop_state::owner& state) noexcept : state_(state) {}

  detail::stop_state::owner state_;
};

/// Requests the stop that its tokens tell of. Copies are alike.
///
/// Lifetime: the loop outlives it and the waits for its tokens. Tokens may outlive both.
class stop_source {
public:
  /// A source on the loop that is running.
  /// Errors: `std::bad_alloc`.
  stop_source();
  explicit stop_source(event_loop& loop);

  /// Has the loop run those who wait. A second request does nothing.
  void request_stop() noexcept { state_->request(); }
  [[nodiscard]] bool stop_requested() const noexcept { return state_->requested(); }

  [[nodiscard]] stop_token token() const noexcept { return stop_token(state_); }

private:
  detail::stop_state::owner state_;
};

/// Calls a handler when a token's stop is requested, or soon if it was: once,
/// from the loop. It may destroy this.
///
/// Cancelling: destroying it.
class stop_callback : private ready_node {
public:
  stop_callback(const stop_token& token, handler<void()> on_stop);
  ~stop_callback() { state_->check_thread(); }

private:
  static void run(ready_node& node);

  detail::stop_state::owner state_;
  detail::stop_state::waiter place_;
  detail::own_handler<> handler_;
};

/// `co_await until_stopped(token)` goes on when stop is requested, from whatever
/// thread; that keeps the loop running meanwhile. A `std::jthread` and a loop may
/// share one.
///
/// Cancelling: a wait that is dropped leaves no trace.
task<> until_stopped(std::stop_token token);

// implementation

namespace detail {

class stop_wait final : public wait {
public:
  explicit stop_wait(const stop_token& token) noexcept : state_(token.state_) {}

  [[nodiscard]] bool await_ready() const noexcept {
    state_->expect_own_loop();
    return state_->requested() && frame::may_go_on();
  }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> by) noexcept {
    frame& waiter = by.promise();
    waiter.waits_for(*this);
    state_->wait(place_, waiter);
  }

  void await_resume() const noexcept {}

  void describe(std::string& out, int) const override { out += "a request to stop\n"; }

private:
  stop_state::owner state_;
  stop_state::waiter place_;
};

}  // namespace detail

inline detail::stop_wait stop_token::operator co_await() const noexcept {
  return detail::stop_wait(*this);
}

}  // namespace eddy
