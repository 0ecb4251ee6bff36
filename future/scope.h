// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <limits>
#include <optional>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/frame.h>
#include <eddy/future/detail/future_core.h>
#include <eddy/future/detail/scope_deadline.h>
#include <eddy/future/detail/scope_finish.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/loop/detail/handler_slot.h>
#include <eddy/loop/detail/list_node.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/inspectable.h>
#include <eddy/loop/ready_node.h>

namespace eddy {

namespace detail {
class scope_child;
class scope_end;
class scope_wait;
}  // namespace detail

/// Owns tasks, its children: the destructor cancels all children that have not completed.
///
///     eddy::scope all;
///     all.spawn(copy(here, there));
///     all.spawn(copy(there, here));
///     co_await all.join();
///
/// A scope can be a local of a coroutine; its children may refer to locals that are declared before
/// it. A scope can also be a member of a class, so that callbacks can own tasks.
///
/// Errors: a child that fails cancels the other children at once, and its error goes to `join` or
/// to the handler of `on_error`. Until the error is delivered, the scope destroys every task that
/// is spawned into it; then the scope can be used again. If the scope is destroyed first, the error
/// is thrown from the loop's `run`.
/// Lifetime: the loop must outlive the scope.
/// Cancelling: `cancel` and the destructor destroy all children, the last spawned first, and any
/// task that the children spawn into the scope meanwhile. A child that cancels its own scope runs
/// on to its next `co_await`, where it is destroyed; until then it must not use objects destroyed
/// with the scope. The destructor of a child's local must not destroy an object that other children
/// use. It may destroy the task that awaits `join`: the locals of that task outlive all children.
class scope final : public inspectable, private ready_node {
public:
  static constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

  /// Makes a scope on the running loop. At most `limit` of its children run at a time.
  ///
  /// Further children wait for a permit, in the order in which they were spawned. A limit of 0
  /// aborts the program.
  explicit scope(std::size_t limit = unlimited);
  /// Makes a scope on `loop`, with at most `limit` children that run at a time.
  explicit scope(event_loop& loop, std::size_t limit = unlimited);
  ~scope();

  /// Makes `work` a child of the scope. `work` must give void.
  ///
  /// The loop starts the child later, from its ready queue, never inside this call.
  template <class Awaitable>
    requires(!std::invocable<Awaitable&>)
  void spawn(Awaitable&& work) {
    static_assert(std::is_void_v<detail::owned_result_t<Awaitable>>,
                  "a task that is spawned into a scope must give void: eddy::spawn returns a "
                  "future for a value");
    add(detail::as_task(std::forward<Awaitable>(work)));
  }

  /// Makes the coroutine `body(arguments…)` a child, which keeps the function with its captures.
  template <class Function, class... Arguments>
    requires std::invocable<Function&, Arguments...>
  void spawn(Function body, Arguments... arguments) {
    spawn(detail::invoke_as_task(std::move(body), std::move(arguments)...));
  }

  /// `co_await s.join()` suspends the coroutine until the scope has no children, or is destroyed.
  ///
  /// One coroutine at a time may await `join`.
  /// Errors: the first error of a child, unless `on_error` has a handler.
  /// Cancelling: the children run on, unless the scope is destroyed too.
  detail::scope_end join() noexcept;

  /// `co_await s.finish(work)` gives the value of `work`. If the waiter is cancelled, `work` still
  /// completes.
  ///
  /// The work becomes a child when the returned task is awaited. If the waiter is cancelled, an
  /// error of the work becomes an error of the scope.
  /// Errors: what the work throws; `std::system_error` with `operation_canceled` if the scope has
  /// cancelled the work.
  /// Lifetime: the scope must live until the returned task is awaited.
  template <class Awaitable>
  task<detail::owned_result_t<Awaitable>> finish(Awaitable&& work);

  /// Cancels all children, the last spawned first.
  void cancel() noexcept;

  /// Sets a deadline: a scope with children at `when` cancels them and fails with `timed_out`.
  ///
  /// The deadline applies to later children too. A second call replaces the deadline: an idle
  /// timeout sets it with each message. A deadline that arrives while the scope has no children is
  /// removed. `current_deadline` of a child includes the deadline, and `timed_out::where` gives
  /// `where`. Without children, the deadline does not keep the loop running. If the loop is late,
  /// the children get more time, as under `timeout`. If `when` has passed, the deadline arrives
  /// when the loop next runs its timers; a child that is ready may run before that.
  void set_deadline(instant when, std::source_location where = std::source_location::current());

  /// Sets a handler that gets the error of a failed child. `join` then throws no error.
  ///
  /// The loop calls `take` when all children are gone. `take` may destroy the scope. A null `take`
  /// removes the handler.
  ///
  /// `take` gets one error at a time, because an error cancels all other children and no child
  /// starts until the error is delivered. A child that cancels its own scope and then fails is no
  /// child any more: the loop's `run` throws its error, even while another error waits for `take`.
  void on_error(handler<void(std::exception_ptr)> take);

  /// Returns the number of children, waiting children included.
  [[nodiscard]] std::size_t size() const noexcept {
    loop().check_thread();
    return running_count_ + waiting_count_;
  }
  /// Returns the number of children that wait for a permit and have not started.
  [[nodiscard]] std::size_t waiting() const noexcept {
    loop().check_thread();
    return waiting_count_;
  }

  /// Returns the deadline that is set, or nothing if none is set or the deadline has arrived.
  [[nodiscard]] std::optional<time_point> deadline() const noexcept;

  /// Returns a text that says what each child waits for, in the format of `event_loop::dump`.
  [[nodiscard, gnu::cold]] std::string dump() const;

  void describe(description& to) const override;
  using inspectable::loop;

private:
  friend detail::scope_child;
  friend detail::scope_deadline;
  friend detail::scope_wait;
  friend detail::future_core;

  [[nodiscard]] bool empty() const noexcept { return running_count_ == 0 && waiting_count_ == 0; }
  void add(task<> work);
  void start(detail::scope_child& child) noexcept;
  void leave(detail::scope_child& child) noexcept;
  void ended(detail::scope_child& child, std::exception_ptr&& error) noexcept;
  void fail(std::exception_ptr&& error) noexcept;
  // Out of line, or g++ 12 warns of a pointer to a local in a scope that has gone.
  [[gnu::noinline]] bool* tell_when_destroyed(bool* told) noexcept;
  void tell_join() noexcept;
  static void tell_handler(ready_node& node);
  void tell_deadline() noexcept;
  /// Adds the tree of the scope, also if a coroutine joins it.
  void describe_awaited(description& to) const;
  static void describe_all(description& to, const detail::list_node& children);
  [[nodiscard]] detail::frame* joiner() const noexcept;

  detail::list_node running_children_;
  detail::list_node waiting_children_;
  std::size_t running_count_ = 0;
  std::size_t waiting_count_ = 0;
  std::size_t limit_;
  std::exception_ptr failure_;  // that nobody has been given yet
  detail::handler_slot<std::exception_ptr> on_error_;
  detail::scope_wait* joined_ = nullptr;
  bool* destroyed_ = nullptr;  // to be told, while children are being cancelled
  std::optional<detail::scope_deadline> deadline_;
};

// implementation

namespace detail {

/// The state of a task in a scope. It takes the place of a future.
class scope_child final : public future_core {
public:
  scope_child(scope& s, task<>&& work) : future_core(s.loop(), false, 2) {
    inherit();
    body_ = &task_access::release(work).promise();
    set_scope(&s);
  }

  void describe_awaited(description& to) const override;

private:
  friend scope;

  void take_from(frame& body) noexcept override;
  void cancel() noexcept override { drop(); }

  bool begun_ = false;
};

/// The awaiter of `scope::join`.
class scope_wait final : public suspension {
public:
  explicit scope_wait(scope& s);
  ~scope_wait() {
    if (scope_ != nullptr) scope_->joined_ = nullptr;
  }

  [[nodiscard]] bool await_ready() const noexcept {
    if (!over() || !frame::may_go_on()) return false;
    if (scope_->failure_ == nullptr) return true;
    if (scope_->on_error_.present()) return false;  // which is told first
    frame::error_comes_now(scope_->failure_);
    return true;
  }

  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> by) noexcept {
    waiter_ = &by.promise();
    waiter_->waits_for(*this, &go_on);
    if (!over()) return;
    if (scope_->failure_ != nullptr) waiter_->error_comes(scope_->failure_);
    tell();
  }

  void await_resume();

  void describe(description& to) const override;

private:
  friend scope;

  [[nodiscard]] bool over() const noexcept { return scope_ == nullptr || scope_->empty(); }
  void tell() noexcept;
  static void go_on(ready_node& node);

  scope* scope_;  // null once it is destroyed
  frame* waiter_ = nullptr;
};

class [[nodiscard("this does nothing without co_await")]] scope_end {
public:
  explicit scope_end(scope& s) noexcept : scope_(&s) {}
  scope_wait operator co_await() const { return scope_wait(*scope_); }

private:
  scope* scope_;
};

}  // namespace detail

inline detail::scope_end scope::join() noexcept { return detail::scope_end(*this); }

template <class Awaitable>
task<detail::owned_result_t<Awaitable>> scope::finish(Awaitable&& work) {
  auto end = detail::finish_in(this, &loop(), detail::as_task(std::forward<Awaitable>(work)));
  detail::task_access::start_at_once(end);
  return end;
}

}  // namespace eddy
