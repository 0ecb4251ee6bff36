// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <functional>
#include <limits>
#include <new>
#include <optional>
#include <source_location>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/frame.h>
#include <eddy/future/detail/future_state.h>
#include <eddy/future/outcome.h>
#include <eddy/future/promise.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/loop/detail/link.h>
#include <eddy/loop/detail/own_handler.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/inspectable.h>
#include <eddy/loop/ready.h>
#include <eddy/loop/timer_node.h>

namespace eddy {

class scope;

namespace detail {
class scope_child;
class scope_end;
class scope_wait;

class scope_deadline final : public limit_node {
public:
  scope_deadline(scope& s, std::source_location where) noexcept;

private:
  friend scope;
  static void come(ready_node& node);

  scope* scope_;
  duration limit_{};
  std::source_location where_;
};
}  // namespace detail

/// Owns tasks, its children, and ends after them.
///
///     eddy::scope all;
///     all.spawn(copy(here, there));
///     all.spawn(copy(there, here));
///     co_await all.join();
///
/// It is a local of a coroutine, so that children may refer to what was declared
/// before it; or a member of a class, so that callbacks can own tasks.
///
/// Errors: when a child fails, the others are cancelled at once, and the error
/// comes out of `join`, or goes to `on_error`. Until then the scope has failed:
/// what is spawned into it is dropped. Afterwards it may be used again. An error
/// that nobody has been given when the scope is destroyed leaves the loop's `run`.
/// Cancelling: destroying the scope, or `cancel`, cancels all children, the one
/// that came last first; what they spawn into it meanwhile is dropped. They are
/// gone when that returns, but for one that does it itself: it is cancelled at
/// its next `co_await`, and till then must not touch what has gone with the scope.
/// A destructor in a child that is being cancelled may destroy the task that awaits `join`:
/// that task goes after all children. While nobody awaits `join`, such a destructor must not
/// destroy whatever the children refer to.
/// Lifetime: the loop outlives it. It stays where it was made.
class scope final : public inspectable, private ready_node {
public:
  static constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

  /// A scope on the loop that is running, of whose children no more than
  /// `limit` run at once; the others wait for room, first come, first served.
  explicit scope(std::size_t limit = unlimited);
  explicit scope(event_loop& loop, std::size_t limit = unlimited);
  ~scope();

  /// Has the loop run `work`, which gives nothing, beginning in its next turn
  /// or when there is room.
  /// Errors: `std::bad_alloc`.
  template <class Awaitable>
    requires(!std::invocable<Awaitable&>)
  void spawn(Awaitable&& work) {
    static_assert(std::is_void_v<detail::owned_result_t<Awaitable>>,
                  "a task that is spawned into a scope gives no value: eddy::spawn returns a "
                  "future for one");
    add(detail::as_task(std::forward<Awaitable>(work)));
  }

  /// The same for the coroutine `body(arguments…)`. The function and the
  /// arguments are moved into the task: a lambda that captures is safe here.
  template <class Function, class... Arguments>
    requires std::invocable<Function&, Arguments...>
  void spawn(Function body, Arguments... arguments) {
    spawn(detail::invoke_as_task(std::move(body), std::move(arguments)...));
  }

  /// `co_await s.join()` goes on when no child is left; one coroutine at a time
  /// may wait. It also ends when the scope is destroyed.
  /// Errors: the first error of a child.
  /// Cancelling: leaves the children alone; those of a scope that is a local of
  /// the same coroutine go with it.
  detail::scope_end join() noexcept;

  /// `co_await s.finish(work)` gives what the work gives. The work is a child of
  /// the scope, so that it goes on to its end though the coroutine that awaits
  /// it is dropped; an error is then the scope's. It begins when it is awaited.
  /// Errors: what the work throws; `std::system_error` with `operation_canceled`
  /// if the scope has dropped it.
  /// Lifetime: the scope lives until then at least; it may go before the work has ended.
  template <class Awaitable>
  task<detail::owned_result_t<Awaitable>> finish(Awaitable&& work);

  /// Cancels all children.
  void cancel() noexcept;

  /// Gives the scope until `when`: children that are left then make it fail with
  /// `timed_out`, of which `where` is told. Children see it as their
  /// `current_deadline`. It holds for later children too, till it is set anew or
  /// has come; without children it does not keep the loop running. Set anew with each
  /// message, it is an idle timeout. When the loop is more than 10 ms late, children get
  /// 10 ms more, as under `timeout`. If `when` has passed already, the deadline comes when the
  /// loop runs timers next: children that are ready may run before that, or not.
  /// Errors: `std::bad_alloc`.
  void set_deadline(instant when, std::source_location where = std::source_location::current());

  /// Calls `handler` with the error when a child has failed and the others are
  /// gone, instead of `join`; every time. It may destroy the scope.
  void on_error(handler<void(std::exception_ptr)> take);

  /// How many children there are, and how many of them still wait for room.
  [[nodiscard]] std::size_t size() const noexcept {
    loop().check_thread();
    return running_count_ + waiting_count_;
  }
  [[nodiscard]] std::size_t waiting() const noexcept {
    loop().check_thread();
    return waiting_count_;
  }

  /// What `set_deadline` was given; empty if nothing, or that has come.
  [[nodiscard]] std::optional<time_point> deadline() const noexcept;

  /// Tells what each child waits for, as `event_loop::dump` does.
  [[nodiscard, gnu::cold]] std::string dump() const;

  void describe(std::string& out) const override;
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
  void describe(std::string& out, int depth) const;
  static void describe_all(std::string& out, int depth, const detail::link& children);
  [[nodiscard]] detail::frame* joiner() const noexcept;

  detail::link running_children_;
  detail::link waiting_children_;
  std::size_t running_count_ = 0;
  std::size_t waiting_count_ = 0;
  std::size_t limit_;
  std::exception_ptr failure_;  // that nobody has been given yet
  detail::own_handler<std::exception_ptr> on_error_;
  detail::scope_wait* joined_ = nullptr;
  bool* destroyed_ = nullptr;  // to be told, while children are being cancelled
  std::optional<detail::scope_deadline> deadline_;
};

/// `co_await with_scope(body, arguments…)` gives what the coroutine
/// `body(scope&, arguments…)` gives, when it and all that it spawned into that
/// scope have ended. The function and the arguments are moved into the task.
///
///     auto fetch_both = [](eddy::scope& s, std::string a, std::string b) -> eddy::task<> {
///       s.spawn(fetch(a));
///       co_await fetch(b);
///     };
///     co_await eddy::with_scope(fetch_both, here, there);
///
/// The body is a child as the others are: the first error of any of them cancels
/// the rest and comes out.
/// Errors: that; `std::system_error` with `operation_canceled` if the scope was
/// cancelled before the body had ended.
/// Cancelling: cancels all of it.
template <class Function, class... Arguments>
  requires awaitable<std::invoke_result_t<Function&, scope&, Arguments...>>
auto with_scope(Function body, Arguments... arguments)
    -> task<await_result_t<std::invoke_result_t<Function&, scope&, Arguments...>>>;

// implementation

namespace detail {

/// What a scope owns of a task, with no future of its own.
class scope_child final : public future_core {
public:
  scope_child(scope& s, task<>&& work) : future_core(s.loop(), false, 2) {
    inherit();
    body_ = &task_access::release(work).promise();
    set_scope(&s);
  }

  using future_core::describe;
  void describe(std::string& out, int depth) const override;

private:
  friend scope;

  void take_from(frame& body) noexcept override;
  void cancel() noexcept override { drop(); }

  bool begun_ = false;
};

class scope_wait final : public wait {
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

  void describe(std::string& out, int depth) const override;

private:
  friend scope;

  [[nodiscard]] bool over() const noexcept { return scope_ == nullptr || scope_->empty(); }
  void tell() noexcept;
  static void go_on(ready_node& node);

  scope* scope_;  // null when that has gone
  frame* waiter_ = nullptr;
};

class [[nodiscard("this does nothing without co_await")]] scope_end {
public:
  explicit scope_end(scope& s) noexcept : scope_(&s) {}
  scope_wait operator co_await() const { return scope_wait(*scope_); }

private:
  scope* scope_;
};

[[noreturn]] void throw_finish_cancelled();

/// The promise of a value that a scope's child makes: it says so if that goes.
template <class T>
class finish_promise {
public:
  explicit finish_promise(event_loop& loop) : promise_(loop) {}
  finish_promise(finish_promise&&) noexcept = default;
  finish_promise& operator=(finish_promise&&) = delete;
  ~finish_promise() {
    if (told_ || !promise_.wanted()) return;
    try {
      throw_finish_cancelled();
    } catch (...) {
      promise_.set_cancelled(std::current_exception());
    }
  }

  [[nodiscard]] future<T> get_future() { return promise_.get_future(); }

  void set_value(auto&&... value) {
    promise_.set_value(std::forward<decltype(value)>(value)...);
    told_ = true;
  }
  /// False if nobody is there to be told.
  bool set_error(std::exception_ptr error) {
    if (!promise_.wanted()) return false;
    told_ = true;
    promise_.set_error(std::move(error));
    return true;
  }

private:
  promise<T> promise_;
  bool told_ = false;
};

template <class T>
task<> finish_for(task<T> work, finish_promise<T> asker) {
  try {
    if constexpr (std::is_void_v<T>) {
      co_await std::move(work);
      asker.set_value();
    } else {
      decltype(auto) value = co_await std::move(work);
      asker.set_value(std::forward<decltype(value)>(value));
    }
  } catch (...) {
    if (!asker.set_error(std::current_exception())) throw;
  }
}

template <class T>
task<T> finish_in(scope* s, event_loop* loop, task<T> work) {
  finish_promise<T> asker(*loop);
  auto value = asker.get_future();
  try {
    s->spawn(finish_for(std::move(work), std::move(asker)));
  } catch (...) {
    static_cast<void>(std::move(value).take());  // that the asker has gone is no error of its own
    throw;
  }
  co_return co_await std::move(value);
}

[[noreturn]] void throw_scope_cancelled();

template <class T>
task<> give_to(std::optional<outcome<T>>* place, task<T> work) {
  if constexpr (std::is_void_v<T>) {
    co_await std::move(work);
    place->emplace();
  } else {
    decltype(auto) value = co_await std::move(work);
    place->emplace(std::in_place, std::forward<decltype(value)>(value));
  }
}

template <class T, class Function, class... Arguments>
task<T> run_in_own_scope(Function body, Arguments... arguments) {
  std::optional<outcome<T>> end;
  scope all;
  all.spawn(give_to<T>(&end, as_task(std::invoke(body, all, std::move(arguments)...))));
  co_await all.join();
  if (!end) throw_scope_cancelled();
  co_return get<T>(*std::move(end));
}

}  // namespace detail

inline detail::scope_end scope::join() noexcept { return detail::scope_end(*this); }

template <class Awaitable>
task<detail::owned_result_t<Awaitable>> scope::finish(Awaitable&& work) {
  return detail::finish_in(this, &loop(), detail::as_task(std::forward<Awaitable>(work)));
}

template <class Function, class... Arguments>
  requires awaitable<std::invoke_result_t<Function&, scope&, Arguments...>>
auto with_scope(Function body, Arguments... arguments)
    -> task<await_result_t<std::invoke_result_t<Function&, scope&, Arguments...>>> {
  using value = await_result_t<std::invoke_result_t<Function&, scope&, Arguments...>>;
  return detail::run_in_own_scope<value>(std::move(body), std::move(arguments)...);
}

}  // namespace eddy
