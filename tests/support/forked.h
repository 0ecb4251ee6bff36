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

/// Starts `work` in a child of this process; it ends with 0 if `work` is true.
template <class Work>
::pid_t start_forked(Work work) {
  std::cout.flush();
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const ::pid_t pid = ::fork();
  if (pid == 0) {
    // doctest's handlers would report a failure of this process.
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

/// The exit code of a child process, or minus the signal that ended it.
inline int end_of(::pid_t pid) {
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/// Whether `work` is true in a child of this process. Checks in there are not
/// counted: it has to return what it found.
template <class Work>
bool holds_in_child(Work work) {
  return end_of(start_forked(work)) == 0;
}

/// Leaves this process, the child of a fork, no free descriptor.
inline void use_up_descriptors() {
  const struct rlimit few{64, 64};
  ::setrlimit(RLIMIT_NOFILE, &few);
  while (::dup(STDERR_FILENO) >= 0) {
  }
}

/// Checks that `mistake` stops the program with `sentence` on its standard error.
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
