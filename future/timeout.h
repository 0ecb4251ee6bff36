// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <system_error>
#include <utility>

#include <eddy/future/awaitable.h>
#include <eddy/future/detail/child_wait.h>
#include <eddy/future/detail/current_loop.h>
#include <eddy/future/detail/frame.h>
#include <eddy/future/outcome.h>
#include <eddy/loop/detail/limit_node.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer_node.h>

namespace eddy {

namespace detail {
template <class T>
class timeout_operation;
}

/// What `timeout` throws: a `std::system_error` with `timed_out`. Its words say
/// which limit it was and what the work waited for when the time was over.
class timed_out : public std::system_error {
public:
  timed_out(duration limit, std::source_location where, std::string waited_for);

  /// The time that the work had: zero if the limit was over already.
  [[nodiscard]] duration limit() const noexcept { return limit_; }
  /// The `co_await timeout(…)`, or that of what sets such a limit: `retry`. If the
  /// timeout itself was spawned, the `co_await` of its future. No line if there is no such
  /// `co_await`: of a timeout that was spawned into a scope, as the clean-up of `finally` is,
  /// or is awaited by `then`, `shared`, `scope::finish` or `with_scope`.
  [[nodiscard]] const std::source_location& where() const noexcept { return where_; }
  /// Where the time went: what the work waited for, as in `event_loop::dump`.
  [[nodiscard]] const std::string& waited_for() const noexcept { return *waited_for_; }

private:
  duration limit_;
  std::source_location where_;
  std::shared_ptr<const std::string> waited_for_;  // an exception is copied without throwing
};

/// `co_await timeout(5s, work)` gives what the work gives, if it ends in time.
///
/// The time counts from the `co_await`; within a handler or a coroutine of the loop's, as
/// each delay of a `timer`, from the end of that turn. It holds for everything that is awaited
/// under the work; a limit within that is longer does not prolong it, a shorter
/// one ends its own work earlier. Work under a limit that is over already begins, and has
/// to end without waiting, in `event_loop::share` operations.
///
/// When the time is over, the loop first runs everything that is ready or posted, for about
/// 10 ms at most: the work may be about to get bytes, or the result of a future or a scope. If that
/// ends the work, its result counts. If a future that the work awaits fails later, nobody
/// takes its error, and that leaves the loop's `run`. So does the error of a task that the
/// work awaits, if the work has used up its operations when that error comes.
///
/// Limits end in the order of their deadlines. Before the next one ends, the loop runs
/// everything that the end of the one before has made ready; but while the loop always has
/// something to run, limits that have waited for 10 ms end together. On a `manual_clock` eight
/// turns that leave something to run stand for the 10 ms. Where deadlines are equal, the limit
/// that began first ends first, so an outer limit ends before one within it.
///
/// When the loop is more than 10 ms late, because the process was stopped or a
/// handler took long, the work gets 10 ms more, and descriptors that are ready have
/// their handlers called in that time. So bytes that arrived in time are not lost. If
/// these handlers take longer, or the loop always has something to run, the work gets more:
/// 80 ms at most. A `timer` has no such exception.
///
/// Errors: `timed_out`, and the work is cancelled by then; what the work throws.
/// With `as_result` nothing is thrown when the time is over.
/// Cancelling: cancels the work.
template <class Awaitable>
detail::timeout_operation<detail::owned_result_t<Awaitable>> timeout(time_span limit,
                                                                     Awaitable&& work) {
  return detail::timeout_operation<detail::owned_result_t<Awaitable>>(
      duration(limit), detail::as_task(std::forward<Awaitable>(work)));
}

/// The same with a deadline: a time of the loop's clock.
template <class Awaitable>
detail::timeout_operation<detail::owned_result_t<Awaitable>> timeout_at(instant when,
                                                                        Awaitable&& work) {
  return detail::timeout_operation<detail::owned_result_t<Awaitable>>(
      time_point(when), detail::as_task(std::forward<Awaitable>(work)));
}

/// The earliest of the deadlines that hold for the coroutine that runs: of those
/// which await it, however far up, and of the scope in which it was spawned. It does not know
/// the deadlines behind a `then`, a `shared` or `scope::finish`, though a limit there ends the
/// work as well. Empty if there is none. So work can tell what is no longer worth beginning.
[[nodiscard]] std::optional<time_point> current_deadline() noexcept;

// implementation

namespace detail {

/// Has a look at what `waiter` waits for, under a limit that is over.
[[nodiscard, gnu::cold]] std::exception_ptr timed_out_of(const frame& waiter, const frame& work,
                                                         duration limit) noexcept;

/// A duration, from the co_await on, or a time.
class time_limit {
public:
  explicit time_limit(duration d) noexcept : length_(d) {}
  explicit time_limit(time_point t) noexcept : length_(t.time_since_epoch()), absolute_(true) {}

  /// Sets the timer, and says whether it is over already. From then on it is the
  /// duration that this leaves.
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

  /// What ends it.
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
    if (ended) return waiter_->waits_its_turn();
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
  /// For `as_result`: there is no error to be thrown, nor words to be found for it.
  void be_quiet() noexcept { quiet_ = true; }
  [[nodiscard]] std::error_code quiet_error() const noexcept {
    return child_ == nullptr ? std::make_error_code(std::errc::timed_out) : std::error_code();
  }

  void describe(std::string& out, int depth) const override {
    out += "a task with a time limit\n";
    describe_below(out, depth, child_);
  }
  void add_to(ambient& all) const noexcept override { all.note(timer_node::deadline()); }

private:
  static void come(ready_node& node) {
    auto& self = static_cast<timeout_wait&>(static_cast<timer_node&>(node));
    if (self.child_->done()) return;  // and the waiter is on its way
    if (self.gives_way()) return;
    // The waiter goes on when the work is gone, and not at all if that drops it.
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
  std::exception_ptr error_;  // when the time is over
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
