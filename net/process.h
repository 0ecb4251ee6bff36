// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

#include <eddy/loop/child_process.h>
#include <eddy/loop/clock.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/detail/process_wait.h>
#include <eddy/net/pipe.h>
#include <eddy/net/pseudo_terminal.h>

namespace eddy {

namespace detail {
class redirections;
struct redirection_access;
}  // namespace detail

/// The object that a standard stream of a child process is connected to.
class redirection {
public:
  /// The same as `inherit`.
  redirection() noexcept = default;

  /// The child shares the standard stream of this process. With `process_options::terminal`, the
  /// stream is the child's terminal instead.
  [[nodiscard]] static redirection inherit() { return {}; }
  /// /dev/null: reads end at once, and writes are discarded.
  [[nodiscard]] static redirection null() { return redirection(target::null); }
  /// A pipe, whose other end is `process::input`, `output` or `error`.
  [[nodiscard]] static redirection pipe() { return redirection(target::pipe); }
  /// A file that the child reads. A relative path is relative to this process's directory.
  [[nodiscard]] static redirection read_file(std::string path);
  /// A file that the child writes. The file is made if there is none, and otherwise emptied.
  [[nodiscard]] static redirection write_file(std::string path);
  /// A file at whose end the child writes. The file is made if there is none.
  [[nodiscard]] static redirection append_file(std::string path);
  /// A copy of a descriptor of this process. The descriptor must stay open until the child is
  /// started. The child shares its flags, such as O_NONBLOCK. A number that is no open descriptor
  /// makes the start fail with `bad_file_descriptor`.
  [[nodiscard]] static redirection descriptor(int number) {
    redirection r(target::descriptor);
    r.descriptor_ = number;
    return r;
  }
  /// Only for the standard error: the same as the child's standard output. A process that is
  /// started with this for another stream aborts the program.
  [[nodiscard]] static redirection to_output() { return redirection(target::output); }

private:
  friend class detail::redirections;
  friend struct detail::redirection_access;

  enum class target : std::uint8_t { inherit, null, pipe, file, descriptor, output };

  explicit redirection(target to) noexcept : to_(to) {}
  redirection(std::string path, int flags) noexcept
      : to_(target::file), flags_(flags), path_(std::move(path)) {}

  target to_ = target::inherit;
  int flags_ = 0;
  int descriptor_ = -1;
  std::string path_;
};

/// The program that a `process` runs, and its surroundings.
///
///     process_options sort("sort", {"-n"});
///     sort.input = redirection::pipe();
///     process child(loop, std::move(sort));
///
/// The child has no descriptors but the three standard streams. It blocks no signals, and every
/// signal has its default action, even if this process ignores it.
class process_options {
public:
  /// The program and its arguments, which do not repeat the program's name. A name without a slash
  /// is searched in the `PATH` of this process.
  explicit process_options(std::string program_to_run, std::vector<std::string> its_arguments = {})
      : program(std::move(program_to_run)), arguments(std::move(its_arguments)) {}

  std::string program;
  std::vector<std::string> arguments;

  /// Whether the child gets the environment of this process.
  bool inherit_environment = true;
  /// Changes to the environment: "NAME=value" sets a variable, "NAME" removes it. The last entry
  /// for a name counts.
  std::vector<std::string> environment;

  /// The directory in which the child starts; empty for the directory of this process.
  std::string directory;

  redirection input;
  redirection output;
  redirection error;

  /// Gives the child a session of its own on a new pseudo-terminal of this size, which
  /// `process::terminal` returns. The standard streams that are not redirected are the terminal.
  std::optional<window_size> terminal;

  /// The session or the process group that the child begins.
  enum placement : std::uint8_t { with_parent, group_of_its_own, session_of_its_own };
  /// The process group of the child. If the child leads a group or a session, `process::terminate`
  /// and the destructor of `process` signal the whole group. They do so only while the child itself
  /// runs: members of its group that outlive the child are left alone.
  placement place = with_parent;

  /// The user and the group of the child, which only a privileged process can change. With `user`,
  /// the supplementary groups become `groups`, even if `groups` is empty.
  std::optional<::uid_t> user;
  std::optional<::gid_t> group;
  std::vector<::gid_t> groups;

  /// A limit of a resource: RLIMIT_NOFILE, for example.
  struct limit {
    int resource;
    std::uint64_t soft;
    std::uint64_t hard;
  };
  std::vector<limit> limits;
  /// The nice value of the child, from -20 to 19. Another value is an `invalid_argument`.
  std::optional<int> nice;

  /// The time between SIGTERM and SIGKILL, when `terminate` or the destructor ends the child.
  duration grace = std::chrono::seconds(5);
};

/// A child process: starts it, waits for its end, and ends it when this object is destroyed.
///
///     process_options options("sort");
///     options.input = redirection::read_file("names");
///     process child(loop, std::move(options));
///     const exit_status end = co_await child.wait();
///
/// The loop reaps the child soon after its end, whether the program waits or not, so no zombie
/// stays while the loop runs. eddy reaps no other child, and does not use SIGCHLD. See
/// `child_process` for programs with other code that reaps, such as libev's default loop.
///
/// Starting blocks the calling thread until the child has executed its program: 0.1 ms, measured as
/// the best of 500 starts of /bin/true. The child shares this process's memory until then, as with
/// `vfork`, so 1 GiB of memory in use adds nothing. Starting is safe beside other threads.
///
/// Fork: in the child of a fork, the process is a sibling. There, destroying this object and
/// sending signals do nothing, and `wait` fails with `no_child_process` when the sibling has ended.
///
/// Errors: a handler gets a `std::error_code`. `co_await` throws a `std::system_error` whose text
/// names the process and the program.
/// Lifetime: the loop must outlive the object. It may be moved during a wait. When the loop is
/// destroyed, children that are still being ended get SIGKILL and are reaped.
/// Cancelling: destroying the object ends the child: it gets SIGTERM, and after
/// `process_options::grace` SIGKILL. The destructor does not wait. The loop reaps the child, and
/// runs at least as long. A pending `wait` is cancelled: a handler is destroyed and never called;
/// an awaiting coroutine is resumed with `operation_canceled`.
class process {
public:
  /// An object without a child: only assigning to it, `started` and destroying it are allowed.
  process() noexcept = default;

  /// Starts a child.
  ///
  /// Errors: `std::system_error`, whose text names the program and the step that failed: "start
  /// sort: change the directory to /nowhere: No such file or directory". The program has not run
  /// then. `std::bad_alloc`: if memory is exhausted after the program has begun to run, the child
  /// is killed and reaped.
  process(event_loop& loop, process_options options);

  process(process&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  /// Takes over the child of the other object, and ends the present child as the destructor does.
  process& operator=(process&& other) noexcept {
    process before(std::move(other));
    std::swap(state_, before.state_);
    return *this;
  }
  ~process() { drop(); }

  /// Whether this object has a child, running or not: it was not moved from or detached.
  [[nodiscard]] bool started() const noexcept { return state_ != nullptr; }
  /// The number of the child. Once the child has ended, another process may get the number.
  [[nodiscard]] ::pid_t pid() const noexcept;
  /// Whether the child has not been reaped yet, by the loop or by `try_wait`.
  [[nodiscard]] bool running() const noexcept;

  /// Waits until the child has ended, and returns how it ended and the resources that it used.
  ///
  /// The result stays: a later wait returns it at once. Only one wait may be pending; a second one
  /// aborts the program. To get everything that the child wrote, read its pipes to the end.
  /// Errors: `no_child_process` if other code has reaped the child, or if SIGCHLD is ignored.
  /// Cancelling: the child runs on, and a later wait gets its end.
  detail::process_wait_operation wait() { return detail::process_wait_operation(state()); }
  /// Waits until the child has ended, as the awaited `wait` does, and then calls `on_end`.
  void wait(handler<void(result<exit_status>)> on_end);
  /// Reaps the child if it has ended, and returns how it ended; `std::nullopt` if it still runs.
  [[nodiscard]] std::optional<result<exit_status>> try_wait() const;
  /// Cancels the pending wait. A handler is destroyed; an awaiting coroutine is resumed with
  /// `operation_canceled`. The child runs on.
  void stop_waiting() noexcept;

  /// Sends a signal to the child alone, even if it leads a group. Returns false if the child has
  /// ended. No other process can get the signal, because the kernel is given a descriptor of the
  /// child.
  /// Errors: `std::system_error`: `invalid_argument` for a number that is no signal,
  /// `operation_not_permitted` if the child has changed its user.
  bool signal(int number);

  /// Asks the child to end with SIGTERM, and sends SIGKILL if it still runs after `grace`.
  ///
  /// A stopped child is continued. With `group_of_its_own` or `session_of_its_own`, the whole group
  /// gets the signals. A `grace` of zero or less sends SIGKILL at once. Call `wait` to learn the
  /// end. Does nothing if the child has ended.
  void terminate(time_span grace) noexcept;
  /// Asks the child to end, with the `grace` of its options.
  void terminate() noexcept;

  /// Releases the child, which runs on. If the loop is running when the child ends, the loop reaps
  /// it, but the child does not keep the loop running. A pending wait is cancelled, and the pipes
  /// are closed.
  void detach() noexcept;

  /// The pipe to the child's standard input. Close it to end the child's input. Aborts the program
  /// unless the input was redirected with `redirection::pipe`.
  ///
  /// This pipe, the next two and the terminal may be moved: `std::move(child.output())`. A moved
  /// pipe or terminal may outlive the process object.
  [[nodiscard]] pipe_writer& input() noexcept;
  /// The pipe from the child's standard output. Aborts the program unless the output was redirected
  /// with `redirection::pipe`.
  [[nodiscard]] pipe_reader& output() noexcept;
  /// The pipe from the child's standard error. Aborts the program unless the error was redirected
  /// with `redirection::pipe`.
  [[nodiscard]] pipe_reader& error() noexcept;
  /// The child's terminal. Aborts the program unless the child was started with
  /// `process_options::terminal`.
  [[nodiscard]] pseudo_terminal& terminal() noexcept;

  [[nodiscard]] event_loop& loop() const noexcept;

private:
  [[nodiscard]] detail::process_state& state() const noexcept;
  void drop() noexcept;

  detail::process_state* state_ = nullptr;  // the loop's when this has dropped it
};

// implementation

namespace detail {
struct redirection_access {
  [[nodiscard]] static bool inherits(const redirection& r) noexcept {
    return r.to_ == redirection::target::inherit;
  }
  [[nodiscard]] static bool pipes(const redirection& r) noexcept {
    return r.to_ == redirection::target::pipe;
  }
};
}  // namespace detail

}  // namespace eddy
