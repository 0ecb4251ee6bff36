// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include <sys/types.h>

#include <eddy/loop/clock.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/ready_node.h>
#include <eddy/loop/result.h>

namespace eddy {

class event_loop;

/// How a child process ended, and the resources that it used.
struct exit_status {
  std::optional<int> code;    // the exit code; absent if a signal ended the process
  std::optional<int> signal;  // the signal that ended the process
  bool core_dumped = false;

  duration user_time{};
  duration system_time{};
  std::size_t max_resident = 0;  // bytes
  std::uint64_t voluntary_switches = 0;
  std::uint64_t involuntary_switches = 0;

  /// Returns whether the process exited with code 0.
  [[nodiscard]] bool success() const noexcept { return code == 0; }
};

/// Calls a handler when a child process has ended, and reaps that process and no other.
///
/// `child_process` does not use SIGCHLD, and leaves child processes of other code alone.
///
/// Before the handler, the loop calls the handlers of the descriptors that are ready in the same
/// turn, once each. To have everything that the process wrote, read its pipe to the end: the
/// handler may be called before the program has read all, and the pipe may stay open after the
/// process has ended.
///
/// The process is reaped when the handler is called. If several `child_process` objects watch
/// one process, the other handlers get `no_child_process`. A process that ends while nobody
/// watches it stays a zombie, as usual, and may be watched later.
///
/// libev's default loop reaps every child of the process. On an event_loop that has adopted the
/// default loop, the handler still gets the code or signal, but no times and sizes: eddy keeps the
/// statuses of the last 1,024 children that libev reaped. In such a process, loops of other threads
/// lose the statuses of their children. An `ev_child` of the program for a process that eddy
/// watches is not called, because eddy has reaped the process.
///
/// If the kernel refuses to watch the process, for lack of memory or at its limit of epoll watches,
/// the loop tries again every 100 ms. The end may then be reported 100 ms late.
///
/// Fork: in the child of a fork the watched process is a sibling. When the sibling has ended,
/// the handler there gets `no_child_process`.
///
/// Lifetime: the loop must outlive the `child_process`. The handler may destroy the
/// `child_process`, and a started `child_process` may be moved.
/// Cancelling: after `stop` or the destructor the handler does not run. A process whose handler
/// did not run has not been reaped.
class child_process {
public:
  /// Makes a watcher of the process `pid`, and does not start it. The process must be a child of
  /// this process.
  /// Errors: `std::system_error` with `no_such_process` if the process does not exist or was
  /// reaped; with `no_child_process` if it is not a child of this process; with the kernel's error
  /// if `pid` is the number of a thread, or if no descriptor is free. `std::bad_alloc`. A child
  /// that libev has reaped on an adopted loop gives no error.
  child_process(event_loop& loop, ::pid_t pid);
  /// Makes a watcher of the process `pid` by `pidfd`, a descriptor of that process, for example
  /// from `clone3`. This opens no other descriptor. Lifetime: `pidfd` must stay open until the
  /// `child_process` is destroyed. Errors: `std::system_error` with `no_child_process` if the
  /// process is not a child of this process, or was reaped; with the kernel's error if `pidfd` is
  /// no descriptor of a process. `std::bad_alloc`. A child that libev has reaped on an adopted loop
  /// gives no error.
  child_process(event_loop& loop, ::pid_t pid, int pidfd);
  child_process(child_process&& other) noexcept;
  child_process& operator=(child_process&& other) noexcept;
  ~child_process();

  /// Calls `on_end` once, when the process has ended. If it has ended already, the next turn of
  /// the loop calls `on_end`.
  ///
  /// `on_end` gets `no_child_process` if other code has reaped the process, or if SIGCHLD is
  /// ignored, which makes the kernel reap it. On a started `child_process`, `start` replaces the
  /// handler. Aborts with a message if `on_end` is null.
  void start(handler<void(result<exit_status>)> on_end);

  /// Queues `node` once, when the process has ended or other code has reaped it. This is `start`
  /// for an object that has a `ready_node` and no handler.
  ///
  /// The node's function calls `gives_way`, and then `reap`.
  /// Lifetime: `node` must live until it is queued, or until `stop` or the destructor ends the
  /// wait.
  void wait(ready_node& node);

  /// Lets the handlers of descriptors that are ready in the same turn run first. The function of
  /// the node that was given to `wait` calls `gives_way`. If the result is true, `node` is queued
  /// again, and the function returns without calling `reap`.
  [[nodiscard]] bool gives_way(ready_node& node);

  /// Reaps the process, and returns how the process ended. Returns `std::nullopt` if it still runs:
  /// then call `wait` again. The error is `no_child_process` if other code has reaped the process.
  [[nodiscard]] std::optional<result<exit_status>> reap();

  /// Stops watching the process and destroys the handler. Does nothing if the `child_process` is
  /// not started.
  void stop() noexcept;

  /// Returns whether the loop will call the handler when the process has ended.
  [[nodiscard]] bool active() const noexcept;
  [[nodiscard]] ::pid_t pid() const noexcept;
  [[nodiscard]] event_loop& loop() const noexcept;

  /// Decides whether the watcher is in the background. A watcher in the background does not keep
  /// its loop running.
  void background(bool on) noexcept;

private:
  struct state;
  [[nodiscard]] state& there() const noexcept;

  std::unique_ptr<state> state_;
};

}  // namespace eddy
