// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/child_wait.h>
#include <eddy/future/detail/frame.h>
#include <eddy/future/outcome.h>
#include <eddy/loop/description.h>
#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/detail/limit_node.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer_node.h>

namespace eddy {

namespace detail {
template <class T>
class timeout_operation;
}

/// Thrown when a time limit expires: a `std::system_error` with the code `timed_out`.
///
/// `what()` names the limit, and what the work was waiting for when the limit expired.
class timed_out : public std::system_error {
public:
  /// `in_one_line` is `waited_for` as a part of the sentence in `what()`; it may be empty.
  timed_out(duration limit, std::source_location where, std::string waited_for,
            std::string_view in_one_line);

  /// Returns the time that the work had: zero for a deadline that had passed already.
  [[nodiscard]] duration limit() const noexcept { return limit_; }

  /// Returns the location of the `co_await timeout(…)`, or of the call that set the limit.
  ///
  /// For a spawned timeout, the location is the `co_await` of the future. `line()` is 0 if the
  /// waiter is eddy's own, such as a scope or `then`.
  [[nodiscard]] const std::source_location& where() const noexcept { return where_; }

  /// Returns what the work was waiting for, in the format of `event_loop::dump`.
  [[nodiscard]] const std::string& waited_for() const noexcept { return *waited_for_; }

private:
  duration limit_;
  std::source_location where_;
  std::shared_ptr<const std::string> waited_for_;  // an exception is copied without throwing
};

/// `co_await timeout(5s, work)` gives the value of `work`, or cancels it after five seconds.
///
/// As for a `timer`, the time counts from the end of the loop's turn in which the `co_await` runs.
/// The limit covers everything that the work awaits. If limits nest, the earliest deadline expires
/// first. If the limit is zero, the work starts, and has to complete without suspending, within
/// `event_loop::share` operations.
///
/// When the time is over, the loop first runs everything that is ready, for about 10 ms at most. If
/// that completes the work, its result counts. If the loop is more than 10 ms late, because the
/// process was stopped or a handler took long, the work gets 10 to 80 ms more, so that bytes that
/// arrived in time are not lost. future/README.md has the details.
///
/// Errors: `timed_out`; what the work throws. With `as_result` an expired limit throws nothing. If
/// an error has arrived for the work, and the work is cancelled before it takes that error, the
/// loop's `run` throws that error.
/// Cancelling: cancels the work. With a limit of zero, a value that the work took may be lost.
template <class Awaitable>
detail::timeout_operation<detail::owned_result_t<Awaitable>> timeout(time_span limit,
                                                                     Awaitable&& work) {
  return detail::timeout_operation<detail::owned_result_t<Awaitable>>(
      duration(limit), detail::as_task(std::forward<Awaitable>(work)));
}

/// `co_await timeout_at(when, work)` gives the value of `work`, or cancels it when the loop's clock
/// shows `when`.
///
/// If `when` has passed, the work starts, and has to complete without suspending. Otherwise the
/// work gets as much extra time as under `timeout`.
///
/// Errors: `timed_out`; what the work throws.
/// Cancelling: as for `timeout`.
template <class Awaitable>
detail::timeout_operation<detail::owned_result_t<Awaitable>> timeout_at(instant when,
                                                                        Awaitable&& work) {
  return detail::timeout_operation<detail::owned_result_t<Awaitable>>(
      time_point(when), detail::as_task(std::forward<Awaitable>(work)));
}

/// Returns the earliest deadline that limits the running coroutine, or nothing if there is none.
///
/// The search follows the chain of awaiting coroutines, and includes the scopes that own a
/// coroutine of that chain. The chain ends at a `then`, a `shared` or a `scope::finish`.
[[nodiscard]] std::optional<time_point> current_deadline() noexcept;

// implementation

namespace detail {

/// A `timed_out` that says what `work` waits for, under the limit that `waiter` set.
[[nodiscard, gnu::cold]] std::exception_ptr timed_out_of(const frame& waiter, const frame& work,
                                                         duration limit) noexcept;

/// A limit: a duration that begins at the co_await, or a time.
class time_limit {
public:
  explicit time_limit(duration d) noexcept : length_(d) {}
  explicit time_limit(time_point t) noexcept : length_(t.time_since_epoch()), absolute_(true) {}

  /// Sets the timer. True if the limit has expired. Afterwards `length` is the duration left.
  bool begin(timer_node& timer);

  [[nodiscard]] duration length() const noexcept { return length_; }

private:
  duration length_;
  bool absolute_ = false;  // it counts from the clock's epoch
};

template <class T>
class timeout_wait final : public child_wait<T>, private limit_node {
  using child_wait<T>::child_;

public:
  timeout_wait(time_limit limit, task<T>&& work)
      : child_wait<T>(std::move(work)), limit_node(current_loop("timeout"), &come), limit_(limit) {}

  /// The timer of the limit.
  [[nodiscard]] timer_node& timer() noexcept { return *this; }

  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> by) {
    const bool over = limit_.begin(*this);
    waiter_ = &by.promise();
    // The limit would take it for waiting if the work had to let others run.
    event_loop& on = timer_node::loop();
    const int lent = over && !frame::dropped() ? on.lend() : 0;
    const bool ended = this->start(*waiter_);
    on.take_back(lent);
    if (ended) return over ? waiter_->waits_its_turn() : waiter_->stops_here();
    if (!over || child_->done()) return true;
    timer_node::clear();
    expire();
    return waiter_->waits_its_turn();
  }

  T await_resume() {
    timer_node::clear();
    if (child_ == nullptr) std::rethrow_exception(std::move(error_));
    return child_->get();
  }
  /// Makes no exception at the limit, because `as_result` asks `quiet_error` instead.
  void be_quiet() noexcept { quiet_ = true; }
  [[nodiscard]] std::error_code quiet_error() const noexcept {
    return child_ == nullptr ? std::make_error_code(std::errc::timed_out) : std::error_code();
  }

  void describe(description& to) const override {
    to.add("a task with a time limit");
    describe_below(to, child_);
  }
  void add_to(ambient& all) const noexcept override { all.note(timer_node::deadline()); }

private:
  static void come(ready_node& node) {
    auto& self = static_cast<timeout_wait&>(static_cast<timer_node&>(node));
    if (self.child_->done()) return;  // and the waiter is queued
    if (self.gives_way()) return;
    // The waiter is resumed once the work is gone, unless the work's destructors drop the waiter.
    self.run_instead(*self.waiter_);
    self.expire();
  }
  void expire() noexcept {
    if (!quiet_) error_ = timed_out_of(*waiter_, *child_, limit_.length());
    this->cancel_and_leave();
  }

  time_limit limit_;
  bool quiet_ = false;
  frame* waiter_ = nullptr;
  std::exception_ptr error_;  // once the limit has expired
};

template <class T>
class [[nodiscard("this does nothing without co_await")]] timeout_operation {
public:
  template <class Limit>
  timeout_operation(Limit limit, task<T>&& work) noexcept : limit_(limit), work_(std::move(work)) {}
  timeout_wait<T> operator co_await() && { return timeout_wait<T>(limit_, std::move(work_)); }

private:
  time_limit limit_;
  task<T> work_;
};

}  // namespace detail

}  // namespace eddy
