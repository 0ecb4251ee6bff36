// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <eddy/loop/detail/handler_slot.h>
#include <eddy/loop/detail/list_node.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/ready_node.h>

namespace eddy {

class event_loop;

namespace detail {
class signal_hub;
}

/// Calls a handler each time a Unix signal arrives.
///
/// Any number of `signal` objects may watch one signal, on one loop or on several loops in
/// several threads. Each of these objects calls its handler. Signals that arrive close together
/// cause one call, because the kernel merges them. Different signals that arrive in one turn are
/// reported in the order of their numbers.
///
/// While a signal is watched, the action that the program had installed for it does not run. The
/// action is restored when the last watcher stops. If the program installs an action while a signal
/// is watched, for example by an `ev_signal`, the watchers are not called. Two copies of eddy in
/// one process, in plugins for example, replace each other's action in this way: the copy that
/// started to watch the signal last has to stop first. System calls that a watched signal
/// interrupts are restarted. A signal that every thread blocks does not arrive.
///
/// A program that this process executes has the default action for a watched signal, even if
/// this process ignored the signal before: `exec` resets caught signals.
///
/// Fork: the child process keeps its watchers, but does not report signals that arrived in the
/// parent. There is one exception: handlers that were queued when a handler forked may run in the
/// child, until that turn ends.
///
/// Lifetime: the loop must outlive a started `signal`. The handler may destroy or restart its
/// `signal`. A started `signal` may be moved.
/// Cancelling: after `stop` or the destructor the handler does not run, even if a signal has
/// arrived.
class signal : private ready_node {
public:
  /// Makes a watcher of the signal `number`, and does not start it.
  /// Errors: `std::system_error` with `invalid_argument` if `number` is not a signal, if that
  /// signal cannot be caught (SIGKILL, SIGSTOP), or if it reports a fault in the running code
  /// (SIGSEGV, SIGBUS, SIGFPE, SIGILL). After such a fault the code cannot go on to the loop, which
  /// would call the handler.
  signal(event_loop& loop, int number);
  signal(signal&& other) noexcept;
  signal& operator=(signal&&) = delete;
  ~signal();

  /// Calls `on_signal` for each signal that arrives from now on. On a started `signal`, `start`
  /// replaces the handler.
  ///
  /// If the loop has another watcher of this signal, the first call may be for a signal that
  /// arrived before `start` and is not reported yet.
  /// Errors: `std::bad_alloc`. Aborts with a message if `on_signal` is null.
  void start(handler<void()> on_signal);

  /// Runs `node` once, when the signal has arrived. This is `start` for an object that has a
  /// `ready_node` and no handler. The wait ends when `node` runs, or by `stop` or the destructor.
  ///
  /// If the signal has arrived but the wait ends before `node` runs, the signal is not lost.
  /// Another watcher on this loop reports it, or else another `wait` for this signal on this
  /// loop, or else the next such `wait`. Aborts with a message if this `signal` is started
  /// already.
  /// Errors: `std::bad_alloc`; `std::system_error` if the child of a fork finds no descriptors
  /// for the loop.
  /// Lifetime: `node` must live until the wait ends.
  void wait(ready_node& node);

  /// Stops watching the signal and destroys the handler. Does nothing if the `signal` is not
  /// started.
  void stop() noexcept;

  /// Returns whether the loop will call the handler, or run the node of `wait`, when the signal
  /// arrives.
  [[nodiscard]] bool active() const noexcept;
  [[nodiscard]] int number() const noexcept { return number_; }

  /// Decides whether the watcher is in the background. A watcher in the background does not keep
  /// its loop running.
  void background(bool on) noexcept;

private:
  friend class detail::signal_hub;

  struct entry : detail::list_node {
    explicit entry(signal& o) noexcept : owner(&o) {}
    signal* owner;
  };

  static void run(ready_node& node);
  void watch();

  event_loop* loop_;
  int number_;
  bool background_ = false;
  ready_node* node_ = nullptr;  // the node of a `wait`
  entry entry_;                 // in the list of the loop's watchers of this signal
  detail::handler_slot<> on_signal_;
};

}  // namespace eddy
