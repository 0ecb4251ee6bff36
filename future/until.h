// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <coroutine>
#include <optional>
#include <string>
#include <system_error>

#include <sys/types.h>

#include <eddy/future/adapt.h>
#include <eddy/future/detail/current_loop.h>
#include <eddy/future/detail/frame.h>
#include <eddy/loop/child.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/readiness.h>
#include <eddy/loop/result.h>
#include <eddy/loop/signal.h>

namespace eddy {

// What a loop watches, awaited.

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
  void describe(std::string& out) const {
    add_text(out, {"descriptor ", descriptor, reads ? " to be readable\n" : " to be writable\n"});
  }

  int descriptor;
};

class until_signal_wait final : public wait {
public:
  explicit until_signal_wait(int number) : watch_(current_loop("until_signal"), number) {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> by) {
    frame& waiter = by.promise();
    watch_.wait(waiter);
    waiter.waits_for(*this);
  }
  void await_resume() const noexcept {}

  void describe(std::string& out, int) const override {
    add_text(out, {"signal ", watch_.number(), "\n"});
  }

private:
  signal watch_;
};

class [[nodiscard("this does nothing without co_await")]] until_signal_operation {
public:
  explicit until_signal_operation(int number) noexcept : number_(number) {}
  until_signal_wait operator co_await() const { return until_signal_wait(number_); }

private:
  int number_;
};

class until_exit_wait final : public wait {
public:
  explicit until_exit_wait(::pid_t pid) : watch_(current_loop("until_exit"), pid) {}

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> by) {
    frame& waiter = by.promise();
    waiter.waits_for(*this, &go_on);
    watch_.wait(waiter);
  }
  exit_status await_resume() const {
    if (!*end_) throw_error(end_->error(), text({"waiting for process ", watch_.pid()}));
    return **end_;
  }

  void describe(std::string& out, int) const override {
    add_text(out, {"process ", watch_.pid(), " to end\n"});
  }

private:
  // The process is reaped when the coroutine goes on, not before.
  static void go_on(ready_node& node) {
    auto& waiter = static_cast<frame&>(node);
    auto& self = static_cast<until_exit_wait&>(waiter.waiting_for());
    if (self.watch_.gives_way(waiter)) return;
    self.end_ = self.watch_.reap();
    if (!self.end_) return self.watch_.wait(waiter);
    frame::resume_after(waiter);
  }

  eddy::child watch_;
  std::optional<result<exit_status>> end_;
};

class [[nodiscard("this does nothing without co_await")]] until_exit_operation {
public:
  explicit until_exit_operation(::pid_t pid) noexcept : pid_(pid) {}
  until_exit_wait operator co_await() const { return until_exit_wait(pid_); }

private:
  ::pid_t pid_;
};

}  // namespace detail

/// `co_await until_readable(fd)` goes on when there is something to read, or
/// when reading would tell what went wrong: the read then tells. Nothing is
/// read, so nothing is lost if the wait is dropped.
///
/// Errors: as for `readiness`.
inline auto until_readable(int descriptor) {
  return adapt(detail::until_ready<readiness::direction::read>{descriptor});
}

/// The same for writing.
inline auto until_writable(int descriptor) {
  return adapt(detail::until_ready<readiness::direction::write>{descriptor});
}

/// `co_await until_signal(SIGTERM)` goes on when the signal comes.
///
/// The signal is watched during the wait and no longer: one that comes before
/// or after does what it would without eddy, which may be to end the program.
/// For a signal that may come again keep a `signal`. If a signal has come, but the
/// wait is dropped before the coroutine goes on, another `until_signal` of that number on
/// the loop is told, or else the next one, unless another watcher on that loop was.
///
/// Errors: as for `signal`.
inline detail::until_signal_operation until_signal(int number) {
  return detail::until_signal_operation(number);
}

/// `co_await until_exit(pid)` goes on when that child process has ended, and
/// gives its `exit_status`. The process is reaped then; if the wait is dropped
/// it is not, and can be waited for again.
///
/// Errors: as for `child`.
inline detail::until_exit_operation until_exit(::pid_t pid) {
  return detail::until_exit_operation(pid);
}

}  // namespace eddy
