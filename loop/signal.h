// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <eddy/loop/detail/link.h>
#include <eddy/loop/detail/own_handler.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/ready.h>

namespace eddy {

class event_loop;

namespace detail {
class signal_hub;
}

/// Calls a handler each time a Unix signal has come.
///
/// Any number of them may watch one signal, on one loop or on several in
/// several threads: each is told. Signals that come close together are told
/// once, as the kernel does. Those of one turn come in the order of their
/// numbers.
///
/// While a signal is watched, what the program had installed for it is not
/// called; when the last watcher goes, it is there again. The other way round, what
/// the program installs while a signal is watched, such as an `ev_signal`, keeps it
/// from the watchers. Two copies of eddy in one process, in plugins say, are such
/// programs to each other: the copy that began last has to end first. System calls
/// that the signal interrupts are restarted. A signal that every thread blocks does
/// not come.
///
/// A program that is started meanwhile has the default action for a watched signal,
/// also where this program ignored it before: `exec` resets what is caught.
///
/// Fork: the child keeps its watchers. A signal that came to the parent is not
/// told there, unless the turn that forks was about to tell it.
///
/// Lifetime: the loop outlives it while it is started. The handler may destroy
/// or restart it. It may be moved while it is started.
/// Cancelling: once `stop` or the destructor has returned, the handler does
/// not run, though the signal had come.
class signal : private ready_node {
public:
  /// Errors: `std::system_error` if `number` is no signal; it can't be caught
  /// (SIGKILL, SIGSTOP); or it tells of a fault in the code that runs (SIGSEGV,
  /// SIGBUS, SIGFPE, SIGILL), which can't go on when the loop is told.
  signal(event_loop& loop, int number);
  signal(signal&& other) noexcept;
  signal& operator=(signal&&) = delete;
  ~signal();

  /// Calls `on_signal` for each signal that comes from now on; if others watch that
  /// signal, also for one that the loop has not told them yet. On one that is started
  /// it changes the handler.
  /// Errors: `std::bad_alloc`.
  void start(handler<void()> on_signal);

  /// The same without a handler, and once: the loop runs `node` when the signal has
  /// come. The wait is over then, as after `stop` and the destructor; `node` lives until
  /// it is. If the signal has come, but the wait ends before `node` has run, nothing is
  /// lost: unless another watcher on this loop is told, another `wait` for that signal on
  /// this loop is, or else the next one.
  /// Errors: `std::bad_alloc`; `std::system_error` if the child of a fork finds no
  /// descriptors for the loop.
  void wait(ready_node& node);

  /// Does nothing to one that is not started.
  void stop() noexcept;

  /// Whether the handler, or the node of a wait, will run when the signal comes.
  [[nodiscard]] bool active() const noexcept;
  [[nodiscard]] int number() const noexcept { return number_; }

  /// A signal in the background does not keep its loop running.
  void background(bool on) noexcept;

private:
  friend class detail::signal_hub;

  struct place : detail::link {
    explicit place(signal& o) noexcept : owner(&o) {}
    signal* owner;
  };

  static void run(ready_node& node);
  void watch();

  event_loop* loop_;
  int number_;
  bool background_ = false;
  ready_node* node_ = nullptr;  // of a wait
  place place_;                 // among the loop's watchers of this signal
  detail::own_handler<> on_signal_;
};

}  // namespace eddy
