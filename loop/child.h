// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include <sys/types.h>

#include <eddy/loop/clock.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/ready.h>
#include <eddy/loop/result.h>

namespace eddy {

class event_loop;

/// How a child process ended, and what it had used.
struct exit_status {
  std::optional<int> code;    // what it returned; absent if a signal ended it
  std::optional<int> signal;  // what ended it
  bool core_dumped = false;

  duration user_time{};
  duration system_time{};
  std::size_t max_resident = 0;  // bytes
  std::uint64_t voluntary_switches = 0;
  std::uint64_t involuntary_switches = 0;

  [[nodiscard]] bool success() const noexcept { return code == 0; }
};

/// Calls a handler when a child process has ended, and reaps that process and
/// no other: what other code has started is left alone. SIGCHLD has no part in
/// it.
///
/// Descriptors that are ready in the same turn have their handlers called first, once
/// each. To have everything that the process has written, read its pipe to the end: the
/// end of the process may be told before that, and a pipe may outlive its process.
///
/// The process is reaped when the handler is called; of several that wait for it, the
/// others get `no_child_process`. One that nobody waits for
/// when it ends stays a zombie, as ever, and may be waited for later.
///
/// libev's default loop reaps every child of the process. On an event_loop that
/// has adopted it, the status still comes, without the times and sizes: eddy
/// keeps the statuses of the last 1,024 children that ended. Loops of other threads
/// lose those of their children then. An `ev_child` of the program's for a process
/// that eddy watches is not told, because eddy has reaped it.
///
/// Fork: in the child of a fork the handler gets `no_child_process` when the
/// process has ended, which is a sibling there.
///
/// Lifetime: the loop outlives it. The handler may destroy it. It may be moved
/// while it is started.
/// Cancelling: once `stop` or the destructor has returned, the handler does
/// not run, and the process was not reaped.
class child {
public:
  /// Errors: `std::system_error`: `no_such_process`, also if it was reaped;
  /// `no_child_process`, if it is not a child of this process; the kernel's
  /// error for the number of a thread that is no process; no descriptor is free.
  child(event_loop& loop, ::pid_t pid);
  child(child&& other) noexcept;
  child& operator=(child&& other) noexcept;
  ~child();

  /// Calls `on_end` once, when the process has ended, or at once in the next
  /// turn if it has. It gets an error if somebody else has reaped the process
  /// (`no_child_process`), or if SIGCHLD is ignored, which has the kernel do so.
  void start(handler<void(result<exit_status>)> on_end);

  /// The same without a handler: queues `node` when the process has ended, or if
  /// somebody else has reaped it. `reap` then tells. `node` lives until it is queued,
  /// or until `stop` or the child's destructor ends the wait.
  void wait(ready_node& node);

  /// Called by a queued node when it runs. Queues the node once more, and returns true,
  /// if the descriptors of the same turn have to come first.
  [[nodiscard]] bool gives_way(ready_node& node);

  /// Reaps the process, and says how it has ended; empty if it still runs.
  [[nodiscard]] std::optional<result<exit_status>> reap();

  /// Does nothing to one that is not started.
  void stop() noexcept;

  /// Whether the handler will run when the process has ended.
  [[nodiscard]] bool active() const noexcept;
  [[nodiscard]] ::pid_t pid() const noexcept;
  [[nodiscard]] event_loop& loop() const noexcept;

  /// A child in the background does not keep its loop running.
  void background(bool on) noexcept;

private:
  struct state;
  [[nodiscard]] state& there() const noexcept;

  std::unique_ptr<state> state_;
};

}  // namespace eddy
