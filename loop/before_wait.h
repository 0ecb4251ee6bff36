// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

#include <eddy/loop/detail/handler_slot.h>
#include <eddy/loop/detail/list_node.h>
#include <eddy/loop/handler.h>

namespace eddy {

class event_loop;

/// Calls a handler once in each turn of a loop, before the loop waits or ends.
///
/// The loop calls the handler when it has run everything that is ready, or when the turn has
/// reached its bound. So work of many handlers can be collected and then done once: a server
/// queues its answers while it runs, and sends them in one call for each connection. If the handler
/// makes work ready, the loop runs that work in the next turn, which does not wait.
///
/// Active objects are called in the order in which they were started. An object that is started
/// during these calls is called in the same turn, unless it was called in that turn already; then
/// the next turn does not wait, and calls it. The calls of one turn are bounded as its other work
/// is, by `event_loop::budget` and by half a millisecond. The next turn calls the remaining
/// objects, and does not wait. `event_loop::stop` ends the turn without these calls, and the next
/// turn makes up for them.
///
/// An active before_wait does not keep its loop running, and a call of its handler is no work that
/// `event_loop::run_ready` reports. No function here allocates memory, apart from the handler.
///
/// Errors: an exception that leaves the handler leaves `event_loop::run`, unless
/// `event_loop::on_exception` is set.
/// Lifetime: the loop must outlive the before_wait. The handler may destroy, stop or restart it. An
/// active before_wait may be moved.
/// Cancelling: after `stop` or the destructor the handler does not run.
class before_wait : private detail::list_node {
public:
  /// Makes a before_wait on `loop`, and does not start it.
  explicit before_wait(event_loop& loop) noexcept : loop_(&loop) {}
  before_wait(before_wait&& other) noexcept;
  before_wait& operator=(before_wait&&) = delete;
  ~before_wait();

  /// Calls `on_turn` in each turn, until `stop`.
  ///
  /// If the before_wait is active, `on_turn` replaces its handler, and it keeps its position.
  /// Aborts with a message if `on_turn` is null.
  void start(handler<void()> on_turn);
  /// Calls `on_turn` once, in this turn or the next. Otherwise as `start`.
  void start_once(handler<void()> on_turn);

  /// Stops the calls and destroys the handler. Does nothing if the before_wait is not active.
  void stop() noexcept;

  /// Returns whether the loop will call the handler.
  [[nodiscard]] bool active() const noexcept;
  [[nodiscard]] event_loop& loop() const noexcept { return *loop_; }

private:
  friend class event_loop;

  void begin(handler<void()>& on_turn, bool once) noexcept;
  void call();

  event_loop* loop_;
  detail::handler_slot<> on_turn_;
  std::uint32_t called_in_ = 0;  // the loop's count of rounds of calls at the last call
  bool once_ = false;
};

}  // namespace eddy
