// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// Private: no public header includes it.

#include <array>
#include <initializer_list>
#include <optional>
#include <string>

#include <sys/types.h>
#include <unistd.h>

#include <eddy/loop/child_process.h>
#include <eddy/loop/inspectable.h>
#include <eddy/loop/timer.h>
#include <eddy/net/detail/system.h>
#include <eddy/net/process.h>

namespace eddy::detail {

/// A child, its pipes and the wait for its end.
///
/// A `process` owns it while the program uses the child. When the `process` is destroyed, the loop
/// owns it until the child has been reaped. It waits for the child from the start, in the
/// background.
class process_state final : public inspectable, private ready_node {
public:
  process_state(event_loop& loop, const process_options& options);

  /// Starts the child. If this throws, there is no child.
  /// Errors: as the constructor of `process`.
  void start(const process_options& options);

  [[nodiscard]] ::pid_t pid() const noexcept { return pid_; }
  [[nodiscard]] event_loop& on() const noexcept { return loop(); }
  [[nodiscard]] bool ended() const noexcept { return end_.has_value(); }
  [[nodiscard]] duration grace() const noexcept { return grace_; }
  [[nodiscard]] std::string name() const;

  /// The end, which this reaps if the child has ended.
  const std::optional<result<exit_status>>& try_wait();

  void wait(handler<void(result<exit_status>)> on_end);
  void wait(process_wait& awaiter) noexcept;
  /// Gives an awaiter the end that is known, at once.
  void tell(process_wait& awaiter) const noexcept { store(awaiter, *end_); }
  void expect_no_wait() const noexcept;
  /// Ends the wait of an awaiter that is being destroyed.
  void forget(const process_wait& awaiter) noexcept;
  void stop_waiting() noexcept;

  bool signal(int number);
  void terminate(duration grace) noexcept;

  /// The owner has gone. The loop ends the child, or with `runs_on` only reaps it, and destroys
  /// this.
  void drop(bool runs_on) noexcept;

  void describe(description& to) const override;
  void describe_wait(description& to) const;
  bool abandon() noexcept override;

  pipe_writer input;
  pipe_reader output;
  pipe_reader error;
  pseudo_terminal terminal;
  std::array<bool, 3> pipes{};  // which of input, output and error there are, open or closed
  bool has_terminal = false;

private:
  pipe_end end(socket_descriptor& from);
  void watch();

  [[nodiscard]] bool waiting() const noexcept { return on_end_ || awaiter_ != nullptr; }
  void begin_wait() noexcept;
  void end_wait() noexcept;

  /// Gives an awaiter its result, and has the loop resume the coroutine.
  void give(process_wait& a, const result<exit_status>& end) const noexcept;
  void store(process_wait& a, const result<exit_status>& end) const noexcept;
  void settle(const result<exit_status>& end) noexcept;

  // The child has ended, or a wait has to be told so.
  static void run(ready_node& node);

  /// After a fork, the child of this object is a sibling, which is not ours to end or reap.
  [[nodiscard]] bool is_ours() const noexcept { return ::getpid() == maker_; }
  /// Whether the child has not ended, as far as the kernel tells.
  [[nodiscard]] bool running() const noexcept;
  [[nodiscard]] bool send(int number) noexcept;
  /// Sends signals to the child, and to its group if it leads one. Does nothing if it has ended.
  void send_to_all(std::initializer_list<int> numbers) noexcept;
  void kill() noexcept;
  void kill_and_reap() noexcept;

  std::string program_;
  duration grace_;
  ::pid_t pid_ = -1;
  ::pid_t maker_ = ::getpid();
  bool leads_group_;
  bool dropped_ = false;
  bool runs_on_ = false;
  socket_descriptor pidfd_;
  std::optional<child_process> child_;  // until the child is reaped
  std::optional<result<exit_status>> end_;
  timer kill_;
  handler<void(result<exit_status>)> on_end_;
  process_wait* awaiter_ = nullptr;
};

}  // namespace eddy::detail
