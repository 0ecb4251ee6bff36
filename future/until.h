// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <string>
#include <system_error>
#include <utility>

#include <sys/types.h>

#include <eddy/future/adapt.h>
#include <eddy/future/spawn.h>
#include <eddy/loop/child.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/readiness.h>
#include <eddy/loop/result.h>
#include <eddy/loop/signal.h>

namespace eddy {

// What a loop watches, awaited: each is `adapt` round the class of loop/ that
// calls back.

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

}  // namespace detail

/// `co_await until_readable(fd)` goes on when there is something to read, or
/// when reading would tell what went wrong: the read then tells. Nothing is
/// read, so nothing is lost if the wait is dropped.
///
/// Errors: as for `readiness`.
[[nodiscard]] inline auto until_readable(int descriptor) {
  return adapt(detail::until_ready<readiness::direction::read>{descriptor});
}

/// The same for writing.
[[nodiscard]] inline auto until_writable(int descriptor) {
  return adapt(detail::until_ready<readiness::direction::write>{descriptor});
}

/// `co_await until_signal(SIGTERM)` goes on when the signal comes.
///
/// The signal is watched during the wait and no longer: one that comes before
/// or after does what it would without eddy, which may be to end the program.
/// For a signal that may come again keep a `signal`.
///
/// Errors: as for `signal`.
[[nodiscard]] inline auto until_signal(int number) {
  struct start {
    signal operator()(completer<> done) const {
      signal watch(detail::current_loop("until_signal"), number);
      watch.start([done, told = false]() mutable {
        if (!std::exchange(told, true)) done();
      });
      return watch;
    }
    void describe(std::string& out) const { detail::add_text(out, {"signal ", number, "\n"}); }
    int number;
  };
  return adapt(start{number});
}

/// `co_await until_exit(pid)` goes on when that child process has ended, and
/// gives its `exit_status`. The process is reaped then; if the wait is dropped
/// it is not, and can be waited for again.
///
/// Errors: as for `child`.
[[nodiscard]] inline auto until_exit(::pid_t pid) {
  struct start {
    child operator()(completer<exit_status> done) const {
      child watch(detail::current_loop("until_exit"), pid);
      watch.start([done, p = pid](result<exit_status> r) {
        r ? done(*r) : done.fail(r.error(), detail::text({"waiting for process ", p}));
      });
      return watch;
    }
    void describe(std::string& out) const { detail::add_text(out, {"process ", pid, " to end\n"}); }
    ::pid_t pid;
  };
  return adapt<exit_status>(start{pid});
}

}  // namespace eddy
