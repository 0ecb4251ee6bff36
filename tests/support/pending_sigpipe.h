// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <csignal>
#include <ctime>

/// A SIGPIPE of this thread that is pending. The signal is blocked until this is destroyed.
class pending_sigpipe {
public:
  pending_sigpipe() {
    ::sigemptyset(&only_);
    ::sigaddset(&only_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &only_, &before_);
    ::raise(SIGPIPE);
  }
  pending_sigpipe(const pending_sigpipe&) = delete;
  pending_sigpipe& operator=(const pending_sigpipe&) = delete;
  ~pending_sigpipe() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

  /// Takes a pending SIGPIPE, and returns whether there was one.
  [[nodiscard]] bool take() const {
    const timespec none{};
    return ::sigtimedwait(&only_, nullptr, &none) == SIGPIPE;
  }

private:
  sigset_t only_{};
  sigset_t before_{};
};
