// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// An operation of several steps, such as `connect`, awaited or with a handler. The steps are a task
// that returns its error and does not throw it.

#include <coroutine>
#include <expected>
#include <new>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

#include <eddy/future/as_result.h>
#include <eddy/future/future.h>
#include <eddy/future/outcome.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/ready_node.h>
#include <eddy/loop/result.h>
#include <eddy/net/pending_operation.h>

namespace eddy::detail {

/// An error, and the words for its message: "connect to 127.0.0.1:80".
struct failure {
  failure(std::error_code e, std::string d) noexcept : error(e), doing(std::move(d)) {}

  std::error_code error;
  std::string doing;
};

/// The result of the steps.
template <class T>
using reported = std::expected<T, failure>;

/// Drops the words, which a handler does not get.
template <class T>
result<T> without_words(reported<T>&& r) {
  if (!r) return std::unexpected(r.error().error);
  if constexpr (std::is_void_v<T>) {
    return {};
  } else {
    return std::move(*r);
  }
}

/// The awaiter of the steps.
template <class T>
class steps_wait {
public:
  explicit steps_wait(task<reported<T>>&& steps) noexcept
      : inner_(std::move(steps).operator co_await()) {}
  steps_wait(const steps_wait&) = delete;
  steps_wait& operator=(const steps_wait&) = delete;

  [[nodiscard]] bool await_ready() const noexcept { return inner_.await_ready(); }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> by) noexcept {
    return inner_.await_suspend(by);
  }
  result<T> await_result() { return without_words(inner_.await_resume()); }
  T await_resume() {
    reported<T> r = inner_.await_resume();
    if (!r) throw_error(r.error().error, r.error().doing);
    if constexpr (!std::is_void_v<T>) return std::move(*r);
  }

private:
  task_wait<reported<T>> inner_;
};

template <class T>
inline constexpr bool is_own_awaiter<steps_wait<T>> = true;

/// Steps that are not started yet: the result of `connect(to)`, for `co_await`.
template <class T>
class [[nodiscard("this does nothing without co_await")]] steps_operation {
public:
  explicit steps_operation(task<reported<T>>&& steps) noexcept : steps_(std::move(steps)) {}
  steps_wait<T> operator co_await() && noexcept { return steps_wait<T>(std::move(steps_)); }

private:
  task<reported<T>> steps_;
};

/// Steps that run, and the handler that gets their result. A `pending_operation` owns it.
class delivery_base : public ready_node, public recycled {
public:
  delivery_base(const delivery_base&) = delete;
  delivery_base& operator=(const delivery_base&) = delete;
  virtual ~delivery_base() = default;

  [[nodiscard]] event_loop& loop() const noexcept { return loop_; }

protected:
  delivery_base(event_loop& loop, function run) noexcept : ready_node(run), loop_(loop) {}

  pending_operation make_pending() noexcept { return pending_operation(*this); }
  void leave_owner() noexcept { static_cast<void>(owner_->release()); }

private:
  friend class eddy::pending_operation;

  event_loop& loop_;
  pending_operation* owner_ = nullptr;
};

template <class T>
class delivery final : public delivery_base {
public:
  /// Starts the steps. The loop calls `on_done` when they have completed.
  /// Errors: `std::bad_alloc`.
  static pending_operation start(event_loop& loop, task<reported<T>> steps,
                                 handler<void(result<T>)> on_done) {
    auto result = spawn(loop, std::move(steps));
    return (new delivery(loop, std::move(result), std::move(on_done)))->make_pending();
  }

private:
  delivery(event_loop& loop, future<reported<T>>&& steps, handler<void(result<T>)>&& on_done)
      : delivery_base(loop, &run), steps_(std::move(steps)), on_done_(std::move(on_done)) {
    future_access::state(steps_).await(*this);
  }

  static void run(ready_node& node) {
    auto* const self = static_cast<delivery*>(static_cast<delivery_base*>(&node));
    auto on_done = std::move(self->on_done_);
    outcome<reported<T>> o = std::move(self->steps_).take();
    self->leave_owner();
    delete self;
    on_done(to_result(std::move(o)));
  }

  static result<T> to_result(outcome<reported<T>>&& o) {
    try {
      return without_words(get<reported<T>>(std::move(o)));
    } catch (const std::bad_alloc&) {
      return std::unexpected(std::make_error_code(std::errc::not_enough_memory));
    }
  }

  future<reported<T>> steps_;
  handler<void(result<T>)> on_done_;
};

}  // namespace eddy::detail
