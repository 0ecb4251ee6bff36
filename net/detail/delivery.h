// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// The two styles of an operation that takes several steps. The steps are a
// task, which tells an error without throwing it.

#include <coroutine>
#include <expected>
#include <new>
#include <string>
#include <system_error>
#include <utility>

#include <eddy/future/as_result.h>
#include <eddy/future/future.h>
#include <eddy/future/outcome.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/loop/detail/recycler.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/ready.h>
#include <eddy/loop/result.h>
#include <eddy/net/pending.h>

namespace eddy::detail {

/// Why it failed, for the program and for people.
struct failure {
  failure(std::error_code e, std::string d) noexcept : error(e), doing(std::move(d)) {}

  std::error_code error;
  std::string doing;
};

template <class T>
using reported = std::expected<T, failure>;

template <class T>
result<T> without_words(reported<T>&& r) {
  if (!r) return std::unexpected(r.error().error);
  return std::move(*r);
}

/// The await style.
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
    return std::move(*r);
  }

private:
  task_wait<reported<T>> inner_;
};

template <class T>
inline constexpr bool is_own_awaiter<steps_wait<T>> = true;

template <class T>
class [[nodiscard("this does nothing without co_await")]] steps_operation {
public:
  explicit steps_operation(task<reported<T>>&& steps) noexcept : steps_(std::move(steps)) {}
  steps_wait<T> operator co_await() && noexcept { return steps_wait<T>(std::move(steps_)); }

private:
  task<reported<T>> steps_;
};

/// The callback style: it has the task run and then calls the handler. What
/// `pending` holds.
class delivery_base : public ready_node, public recycled {
public:
  delivery_base(const delivery_base&) = delete;
  delivery_base& operator=(const delivery_base&) = delete;
  virtual ~delivery_base() = default;

  [[nodiscard]] event_loop& loop() const noexcept { return loop_; }

protected:
  delivery_base(event_loop& loop, function run) noexcept : ready_node(run), loop_(loop) {}

  pending make_pending() noexcept { return pending(*this); }
  void leave_pending() noexcept { holder_->release(); }

private:
  friend class eddy::pending;

  event_loop& loop_;
  pending* holder_ = nullptr;
};

template <class T>
class delivery final : public delivery_base {
public:
  /// Errors: `std::bad_alloc`.
  static pending start(event_loop& loop, task<reported<T>> steps,
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
    self->leave_pending();
    delete self;
    on_done(as_told(std::move(o)));
  }

  static result<T> as_told(outcome<reported<T>>&& o) {
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
