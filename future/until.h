// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <optional>
#include <string>
#include <system_error>

#include <sys/types.h>

#include <eddy/future/adapt.h>
#include <eddy/future/detail/frame.h>
#include <eddy/loop/child_process.h>
#include <eddy/loop/description.h>
#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/readiness.h>
#include <eddy/loop/result.h>
#include <eddy/loop/signal.h>

namespace eddy {

namespace detail {
template <readiness::direction Which>
struct until_ready;
using until_readable_operation = adaptation<void, until_ready<readiness::direction::read>>;
using until_writable_operation = adaptation<void, until_ready<readiness::direction::write>>;
template <class Wait>
class until_operation;
using until_signal_operation = until_operation<class until_signal_wait>;
using until_exit_operation = until_operation<class until_exit_wait>;
}  // namespace detail

/// `co_await until_readable(fd)` suspends the coroutine until a read from `fd` would not block.
///
/// An error or a hang-up of the descriptor counts as ready, and the next read reports it. A file is
/// always ready, although a read from it may block: use `run_blocking`.
/// Errors: `std::system_error` if `fd` is negative, closed before or during the wait, or an epoll
/// descriptor that watches this loop, or if the kernel refuses the watch.
/// Cancelling: eddy reads nothing, so no bytes are lost.
inline detail::until_readable_operation until_readable(int fd);

/// `co_await until_writable(fd)` suspends the coroutine until a write to `fd` would not block.
///
/// An error or a hang-up of the descriptor counts as ready, and the next write reports it.
/// Errors: `std::system_error` if `fd` is negative, closed before or during the wait, or an epoll
/// descriptor that watches this loop, or if the kernel refuses the watch.
inline detail::until_writable_operation until_writable(int fd);

/// `co_await until_signal(SIGTERM)` suspends the coroutine until the process gets this signal.
///
/// eddy watches the signal only during the wait. At other times the signal has its usual action,
/// which may end the program: keep a `signal` object for a signal that may come at any time.
/// Errors: `std::system_error` if `number` is not a signal, can't be caught (SIGKILL, SIGSTOP), or
/// reports a fault (SIGSEGV, SIGBUS, SIGFPE, SIGILL).
/// Cancelling: if the signal has arrived, and no other watcher on this loop has reported the
/// signal, eddy gives it to another `until_signal` on this loop, or to the next `until_signal`.
inline detail::until_signal_operation until_signal(int number);

/// `co_await until_exit(pid)` suspends the coroutine until a child process ends, and gives its
/// `exit_status`.
///
/// eddy reaps the process when the coroutine resumes.
/// Errors: `std::system_error` with `no_such_process` if the process does not exist or was reaped;
/// with `no_child_process` if it is not a child of this process, if other code reaps it first, or
/// if SIGCHLD is ignored; with the kernel's error otherwise.
/// Cancelling: the process is not reaped, and can be awaited again.
inline detail::until_exit_operation until_exit(::pid_t pid);

// implementation

namespace detail {

template <readiness::direction Which>
struct until_ready {
  static constexpr bool reads = Which == readiness::direction::read;

  readiness operator()(completer<> done) const {
    readiness watch(current_loop(reads ? "until_readable" : "until_writable"), descriptor);
    auto tell = [done, d = descriptor](std::error_code e) {
      constexpr const char* use = reads ? "read from" : "write to";
      e ? done.fail(e, text({"waiting to ", use, " descriptor ", d})) : done();
    };
    reads ? watch.wait_readable(tell) : watch.wait_writable(tell);
    return watch;
  }
  std::string describe() const {
    return text({"descriptor ", descriptor, reads ? " to be readable" : " to be writable"});
  }

  int descriptor;
};

class until_signal_wait final : public suspension {
public:
  explicit until_signal_wait(int number) noexcept : number_(number) {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> by) {
    frame& waiter = by.promise();
    if (!frame::dropped()) {
      watch_.emplace(current_loop("until_signal"), number_);
      watch_->wait(waiter);
    }
    waiter.waits_for(*this);
  }
  void await_resume() const noexcept {}

  void describe(description& to) const override { to.add(text({"signal ", number_})); }

private:
  int number_;
  std::optional<signal> watch_;
};

class until_exit_wait final : public suspension {
public:
  explicit until_exit_wait(::pid_t pid) noexcept : pid_(pid) {}

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> by) {
    frame& waiter = by.promise();
    if (!frame::dropped()) {
      watch_.emplace(current_loop("until_exit"), pid_);
      watch_->wait(waiter);
    }
    waiter.waits_for(*this, &go_on);
  }
  exit_status await_resume() const {
    if (!*end_) throw_error(end_->error(), text({"waiting for process ", pid_}));
    return **end_;
  }

  void describe(description& to) const override { to.add(text({"process ", pid_, " to end"})); }

private:
  // The process is reaped when the coroutine goes on, not before.
  static void go_on(ready_node& node) {
    auto& waiter = static_cast<frame&>(node);
    auto& self = static_cast<until_exit_wait&>(waiter.waiting_for());
    if (self.watch_->gives_way(waiter)) return;
    self.end_ = self.watch_->reap();
    if (!self.end_) return self.watch_->wait(waiter);
    frame::resume_after(waiter);
  }

  ::pid_t pid_;
  std::optional<eddy::child_process> watch_;
  std::optional<result<exit_status>> end_;
};

template <class Wait>
class [[nodiscard("this does nothing without co_await")]] until_operation {
public:
  explicit until_operation(int of) noexcept : of_(of) {}
  Wait operator co_await() const { return Wait(of_); }

private:
  int of_;  // the number of a signal or of a process
};

}  // namespace detail

inline detail::until_readable_operation until_readable(int fd) {
  return adapt(detail::until_ready<readiness::direction::read>{fd});
}

inline detail::until_writable_operation until_writable(int fd) {
  return adapt(detail::until_ready<readiness::direction::write>{fd});
}

inline detail::until_signal_operation until_signal(int number) {
  return detail::until_signal_operation(number);
}

inline detail::until_exit_operation until_exit(::pid_t pid) {
  return detail::until_exit_operation(pid);
}

}  // namespace eddy
