// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/forked.h"

/// A child process that exits with 9 while a tracer process still traces it. Until the tracer
/// detaches, the child's pidfd is readable, but the child can't be reaped.
class traced_child {
public:
  traced_child() {
    REQUIRE(::pipe(go_) == 0);
    int told[2];
    REQUIRE(::pipe(told) == 0);
    pid_ = start_forked([&] {
      ::prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
      static_cast<void>(!::write(told[1], "x", 1));
      ::close(go_[1]);
      await(go_[0]);
      ::_exit(9);
      return false;
    });
    await(told[0]);
    ::close(told[0]);
    ::close(told[1]);
    int traces[2];
    REQUIRE(::pipe(traces) == 0);
    REQUIRE(::pipe(hold_) == 0);
    tracer_ = start_forked([&] {
      const bool traced = ::ptrace(PTRACE_SEIZE, pid_, nullptr, nullptr) == 0;
      static_cast<void>(!::write(traces[1], traced ? "y" : "n", 1));
      ::close(go_[1]);
      ::close(hold_[1]);
      await(hold_[0]);
      return traced;
    });
    char traced = 'n';
    static_cast<void>(!::read(traces[0], &traced, 1));
    traced_ = traced == 'y';
    ::close(traces[0]);
    ::close(traces[1]);
  }
  traced_child(const traced_child&) = delete;
  traced_child& operator=(const traced_child&) = delete;
  ~traced_child() {
    end();
    let_go();
    ::close(go_[0]);
    ::close(hold_[0]);
  }

  /// Whether this system allows one process to trace another.
  [[nodiscard]] bool traced() const noexcept { return traced_; }
  [[nodiscard]] ::pid_t pid() const noexcept { return pid_; }

  /// Ends the child, and returns when it has ended.
  void end() {
    if (go_[1] < 0) return;
    ::close(go_[1]);
    go_[1] = -1;
    pollfd ended{static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)), POLLIN, 0};
    ::poll(&ended, 1, -1);
    ::close(ended.fd);
  }
  /// Ends the tracer, and with it the tracing.
  void let_go() {
    if (hold_[1] < 0) return;
    ::close(hold_[1]);
    hold_[1] = -1;
    static_cast<void>(end_of(tracer_));
  }

private:
  static void await(int end) {
    char byte = 0;
    static_cast<void>(!::read(end, &byte, 1));
  }

  int go_[2];
  int hold_[2];
  ::pid_t pid_;
  ::pid_t tracer_;
  bool traced_;
};
