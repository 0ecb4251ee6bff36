// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <csignal>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/// Runs `work` in a child process, which exits with 0 if `work` returns true.
template <class Work>
::pid_t start_forked(Work work) {
  std::cout.flush();
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const ::pid_t pid = ::fork();
  if (pid == 0) {
    // doctest's signal handlers would report a failure of the parent.
    for (const int number : {SIGABRT, SIGTERM, SIGINT, SIGSEGV}) std::signal(number, SIG_DFL);
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid != 0) return pid;
  bool good = false;
  try {
    ::alarm(20);
    good = work();
  } catch (const std::exception& e) {
    std::cerr << "in the forked child: " << e.what() << std::endl;
  }
  ::_exit(good ? 0 : 1);
}

/// The exit code of a child process, or the negative number of the signal that ended it.
inline int end_of(::pid_t pid) {
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/// Whether `work` returns true in a child process. doctest's checks in `work` do not count.
template <class Work>
bool holds_in_child(Work work) {
  return end_of(start_forked(work)) == 0;
}

/// Uses up all descriptors of this process. For a forked child only.
inline void use_up_descriptors() {
  const struct rlimit few{64, 64};
  ::setrlimit(RLIMIT_NOFILE, &few);
  while (::dup(STDERR_FILENO) >= 0) {
  }
}

/// Checks that `mistake` aborts with `sentence` on standard error, in a child process.
template <class Mistake>
void dies_saying(std::string_view sentence, Mistake mistake) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const ::pid_t pid = start_forked([&] {
    ::dup2(ends[1], STDERR_FILENO);
    const struct rlimit none{};
    ::setrlimit(RLIMIT_CORE, &none);
    mistake();
    return true;
  });
  ::close(ends[1]);
  std::string words;
  char some[512];
  for (ssize_t n = 0; (n = ::read(ends[0], some, sizeof some)) > 0;) {
    words.append(some, static_cast<std::size_t>(n));
  }
  ::close(ends[0]);
  CHECK(end_of(pid) == -SIGABRT);
  INFO(words);
  CHECK(words.contains(sentence));
}
