// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/signal_mask.h>

#include <initializer_list>

#include <signal.h>

namespace eddy::detail {

namespace {

constexpr int largest = 64;

constexpr std::uint64_t bit(int number) noexcept { return std::uint64_t{1} << (number - 1); }

constexpr std::uint64_t bits(std::initializer_list<int> numbers) noexcept {
  std::uint64_t all = 0;
  for (const int number : numbers) all |= bit(number);
  return all;
}

constexpr std::uint64_t faults = bits({SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT});

// Without SIGPIPE and SIGXFSZ, which the kernel sends to the thread that writes.
constexpr std::uint64_t asynchronous =
    bits({SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGCHLD, SIGCONT,
          SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGXCPU, SIGWINCH, SIGIO, SIGPWR});

static_assert((faults & asynchronous) == 0);

}  // namespace

signal_mask signal_mask::current() noexcept {
  sigset_t set;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &set);
  std::uint64_t all = 0;
  for (int number = 1; number <= largest; ++number) {
    if (::sigismember(&set, number) == 1) all |= bit(number);
  }
  return signal_mask(all);
}

signal_mask signal_mask::of_idle_worker() noexcept {
  std::uint64_t all = asynchronous;
  for (int number = SIGRTMIN; number <= SIGRTMAX; ++number) all |= bit(number);
  return signal_mask(all);
}

signal_mask signal_mask::without_faults() const noexcept { return signal_mask(bits_ & ~faults); }

void signal_mask::install() const noexcept {
  sigset_t set;
  ::sigemptyset(&set);
  for (int number = 1; number <= largest; ++number) {
    if ((bits_ & bit(number)) != 0) ::sigaddset(&set, number);
  }
  ::pthread_sigmask(SIG_SETMASK, &set, nullptr);
}

}  // namespace eddy::detail
