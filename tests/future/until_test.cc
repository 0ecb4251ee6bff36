// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/until.h>.
#include <eddy/future/until.h>

#include <chrono>
#include <csignal>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <eddy/future/block_on.h>
#include <eddy/future/promise.h>
#include <eddy/future/select.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/yield.h>
#include <eddy/loop/signal.h>
#include <eddy/loop/timer.h>

#include "support/async_test.h"
#include "support/forked.h"
#include "support/journal.h"
#include "support/socket_pair.h"
#include "support/traced.h"

using namespace std::chrono_literals;

namespace {

eddy::task<> wait_readable(int descriptor, journal* note) {
  co_await eddy::until_readable(descriptor);
  (*note)("readable");
}

eddy::task<> wait_signal(int number, journal* note) {
  co_await eddy::until_signal(number);
  (*note)("signal");
}

}  // namespace

TEST_CASE_FIXTURE(async_fixture, "until_readable completes when there is something to read") {
  const socket_pair pair;
  journal note;
  auto f = eddy::spawn(loop, wait_readable(pair.near(), &note));
  loop.run_ready();
  loop.run_ready();
  CHECK(note == "");

  pair.send("word");
  loop.run();
  CHECK(note == "readable");
  CHECK(pair.receive() == "word");
}

ASYNC_TEST("until_readable can be awaited again on the same descriptor") {
  const socket_pair pair;
  for (int i = 0; i < 3; ++i) {
    loop.defer([&] { pair.send(); });
    co_await eddy::until_readable(pair.near());
    CHECK(pair.receive() == "x");
  }
}

TEST_CASE_FIXTURE(async_fixture, "a destroyed until_readable stops watching") {
  const socket_pair pair;
  journal note;
  auto f = eddy::spawn(loop, wait_readable(pair.near(), &note));
  loop.run_ready();
  CHECK(loop.count().waiting == 1);
  SUBCASE("before the descriptor is readable") {}
  SUBCASE("when the descriptor is readable, before the loop knows") { pair.send(); }
  f = {};
  CHECK(loop.count().waiting == 0);
  loop.run();
  CHECK(note == "");
}

ASYNC_TEST("until_writable completes when the socket's buffer has space") {
  const socket_pair pair;
  co_await eddy::until_writable(pair.near());

  pair.fill();
  bool emptied = false;
  loop.defer([&] {
    emptied = true;
    pair.empty();
  });
  co_await eddy::until_writable(pair.near());
  CHECK(emptied);
}

ASYNC_TEST("a descriptor that can't be watched gives an error") {
  std::error_code error;
  try {
    co_await eddy::until_readable(-1);
  } catch (const std::system_error& e) {
    error = e.code();
  }
  CHECK(error == std::errc::bad_file_descriptor);
}

TEST_CASE_FIXTURE(async_fixture, "until_signal completes once when the signal comes") {
  journal note;
  auto f = eddy::spawn(loop, wait_signal(SIGUSR1, &note));
  loop.run_ready();

  SUBCASE("though the signal comes twice") {
    ::raise(SIGUSR1);
    ::raise(SIGUSR1);
    loop.run();
    CHECK(note == "signal");
  }
  SUBCASE("though the signal comes again before the waiter resumes") {
    eddy::timer again(loop);  // runs before the waiter, which the first signal queues
    loop.defer([&] {
      ::raise(SIGUSR1);
      again.start(eddy::duration::zero(), [] { ::raise(SIGUSR1); });
      loop.end_turn();
    });
    loop.run();
    CHECK(note == "signal");
  }
  SUBCASE("unless the task is destroyed") {
    f = {};
    CHECK(loop.count().waiting == 0);
  }
}

TEST_CASE_FIXTURE(async_fixture,
                  "until_signal stops watching when its coroutine goes on to another await") {
  struct program {
    static eddy::task<> wait(bool* right) {
      eddy::promise<> more;
      auto f = more.get_future();
      // The awaiter of until_signal lives until the end of the expression.
      co_await eddy::until_signal(SIGUSR1), co_await std::move(f);
      *right = false;
    }
  };
  bool right = true;
  eddy::signal other(loop, SIGUSR1);
  other.background(true);
  other.start([] {});
  auto f = eddy::spawn(loop, program::wait(&right));
  loop.run_ready();
  for (int i = 0; i < 2; ++i) {
    ::raise(SIGUSR1);
    while (loop.run_ready()) {
    }
  }
  CHECK(right);
  CHECK(!f.ready());
  other.stop();
}

TEST_CASE_FIXTURE(async_fixture,
                  "a signal whose waiter is destroyed before it resumes goes to the next waiter") {
  struct program {
    static eddy::task<> wait(journal* note) {
      co_await eddy::until_signal(SIGUSR1);
      (*note)("resumed");
    }
  };
  journal note;
  std::optional<eddy::signal> keep;
  auto lost = eddy::spawn(loop, program::wait(&note));
  loop.run_ready();
  eddy::timer first(loop);  // runs before the waiter, which the signal queues
  first.start(eddy::duration::zero(), [&] { lost = {}; });
  ::raise(SIGUSR1);
  SUBCASE("if nobody else watches the signal") {
    loop.run();
    auto next = eddy::spawn(loop, program::wait(&note));
    loop.run();
    CHECK(note == "resumed");
    CHECK(next.ready());
  }
  SUBCASE("but not if another watcher got the signal") {
    keep.emplace(loop, SIGUSR1);
    keep->background(true);
    keep->start([&] { note("kept"); });
    ::raise(SIGUSR1);
    loop.run();
    auto next = eddy::spawn(loop, program::wait(&note));
    loop.run_ready();
    CHECK_FALSE(next.ready());
    next = {};
    CHECK(note == "kept");
    keep.reset();
  }
}

ASYNC_TEST("a signal that one waiter got is not kept for the next though others are cancelled") {
  const auto raise_now = []() -> eddy::task<> {
    co_await eddy::yield();
    ::raise(SIGUSR1);
    co_await eddy::sleep(1h);
  };
  journal note;
  co_await eddy::select(wait_signal(SIGUSR1, &note), wait_signal(SIGUSR1, &note), raise_now());
  CHECK(note == "signal");
  const auto next = eddy::spawn(wait_signal(SIGUSR1, &note));
  co_await eddy::sleep(1ms);
  CHECK_FALSE(next.ready());
}

TEST_CASE_FIXTURE(
    async_fixture,
    "a signal that comes just before its waiter is destroyed goes to the next waiter") {
  journal note;
  auto first = eddy::spawn(loop, wait_signal(SIGUSR1, &note));
  loop.run_ready();
  ::raise(SIGUSR1);
  first = {};
  auto next = eddy::spawn(loop, wait_signal(SIGUSR1, &note));
  loop.run();
  CHECK(note == "signal");
}

TEST_CASE_FIXTURE(async_fixture,
                  "an exit whose waiter is destroyed before it resumes goes to the next waiter") {
  struct program {
    static eddy::task<int> wait(::pid_t pid) {
      const eddy::exit_status end = co_await eddy::until_exit(pid);
      co_return end.code.value_or(-1);
    }
  };
  const ::pid_t pid = start_forked([] { return false; });
  auto lost = eddy::spawn(loop, program::wait(pid));
  loop.run_ready();
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT);
  eddy::timer first(loop);
  first.start(eddy::duration::zero(), [&] { lost = {}; });
  loop.run();
  auto next = eddy::spawn(loop, program::wait(pid));
  loop.run();
  CHECK(std::move(next).take() == 1);
}

ASYNC_TEST("until_signal refuses SIGKILL") {
  std::error_code error;
  try {
    co_await eddy::until_signal(SIGKILL);
  } catch (const std::system_error& e) {
    error = e.code();
  }
  CHECK(error == std::errc::invalid_argument);
}

ASYNC_TEST("until_exit gives a child process's exit status") {
  const ::pid_t good = start_forked([] { return true; });
  const ::pid_t bad = start_forked([] { return false; });
  const eddy::exit_status second = co_await eddy::until_exit(bad);
  CHECK(second.code == 1);
  const eddy::exit_status first = co_await eddy::until_exit(good);
  CHECK(first.success());
}

TEST_CASE_FIXTURE(async_fixture, "until_exit waits until the tracer of a process detaches") {
  traced_child process;
  std::optional<int> code;
  auto f = eddy::spawn(loop, [&]() -> eddy::task<> {
    const eddy::exit_status end = co_await eddy::until_exit(process.pid());
    code = end.code;
  });
  loop.run_ready();
  process.end();
  for (int i = 0; i < 5; ++i) loop.run_ready();
  CHECK_FALSE((process.traced() && code));
  process.let_go();
  loop.run();
  CHECK(code == 9);
}

TEST_CASE_FIXTURE(async_fixture, "a destroyed until_exit does not reap the process") {
  const ::pid_t pid = start_forked([] { return true; });
  struct program {
    static eddy::task<> wait(::pid_t which) { co_await eddy::until_exit(which); }
  };
  {
    auto f = eddy::spawn(loop, program::wait(pid));
    loop.run_ready();
  }
  CHECK(end_of(pid) == 0);
}

ASYNC_TEST("until_exit of a process that is no child throws") {
  std::error_code error;
  try {
    co_await eddy::until_exit(1);
  } catch (const std::system_error& e) {
    error = e.code();
  }
  CHECK(error == std::errc::no_child_process);
}

TEST_CASE_FIXTURE(async_fixture,
                  "the loop's dump names the descriptor, signal or process of each wait") {
  struct program {
    static eddy::task<> wait_writable(int descriptor) { co_await eddy::until_writable(descriptor); }
    static eddy::task<> wait_exit(::pid_t pid) { co_await eddy::until_exit(pid); }
  };
  const socket_pair pair;
  pair.fill();
  journal note;
  const ::pid_t pid = start_forked([] { return ::pause() == 0; });
  const auto a = eddy::spawn(loop, wait_readable(pair.near(), &note));
  const auto b = eddy::spawn(loop, program::wait_writable(pair.near()));
  const auto c = eddy::spawn(loop, wait_signal(SIGUSR1, &note));
  auto d = eddy::spawn(loop, program::wait_exit(pid));
  loop.run_ready();

  const std::string tree = loop.dump();
  const std::string descriptor = "descriptor " + std::to_string(pair.near());
  CHECK_MESSAGE(tree.contains(descriptor + " to be readable\n"), tree);
  CHECK_MESSAGE(tree.contains(descriptor + " to be writable\n"), tree);
  CHECK_MESSAGE(tree.contains("signal " + std::to_string(SIGUSR1) + "\n"), tree);
  CHECK_MESSAGE(tree.contains("process " + std::to_string(pid) + " to end\n"), tree);
  ::kill(pid, SIGKILL);
  eddy::block_on(loop, std::move(d));
}
