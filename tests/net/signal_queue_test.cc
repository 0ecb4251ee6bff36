// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/signal_queue.h>.
#include <eddy/net/signal_queue.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/sleep.h>
#include <eddy/loop/signal.h>
#include <eddy/net/process.h>

#include "support/async_test.h"
#include "support/every_point.h"
#include "support/failing_system.h"
#include "support/forked.h"
#include "support/journal.h"

using namespace std::chrono_literals;
using eddy::as_result;
using eddy::signal_info;
using eddy::signal_queue;
using eddy::task;

namespace {

/// Blocks two real-time signals and SIGUSR1 while it exists, and drops those left at its end.
class blocked {
public:
  blocked() {
    ::sigemptyset(&all_);
    for (const int number : {SIGRTMIN, SIGRTMIN + 1, SIGUSR1}) ::sigaddset(&all_, number);
    ::pthread_sigmask(SIG_BLOCK, &all_, &before_);
  }
  blocked(const blocked&) = delete;
  blocked& operator=(const blocked&) = delete;
  ~blocked() {
    const timespec none{};
    while (::sigtimedwait(&all_, nullptr, &none) > 0) {
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

private:
  sigset_t all_{};
  sigset_t before_{};
};

bool queue_value(int number, int value) {
  sigval v{};
  v.sival_int = value;
  return ::sigqueue(::getpid(), number, v) == 0;
}

}  // namespace

ASYNC_TEST("a signal is received with its sender, its user and its value") {
  const blocked here;
  signal_queue queue(loop, {SIGRTMIN, SIGUSR1});
  CHECK(!queue.try_receive());
  CHECK(queue_value(SIGRTMIN, 42));
  const signal_info first = co_await queue.receive();
  CHECK(first.number == SIGRTMIN);
  CHECK(first.code == SI_QUEUE);
  CHECK(first.sender == ::getpid());
  CHECK(first.user == ::getuid());
  CHECK(first.value == 42);
  ::kill(::getpid(), SIGUSR1);
  const signal_info second = co_await queue.receive();
  CHECK(second.number == SIGUSR1);
  CHECK(second.code == SI_USER);
}

TEST_CASE_FIXTURE(with_loop, "5,000 real-time signals are received in order, none merged or lost") {
  const blocked here;
  signal_queue queue(loop, {SIGRTMIN});
  int sent = 0;
  while (sent < 5000 && queue_value(SIGRTMIN, sent)) ++sent;
  int received = 0;
  bool in_order = true;
  struct receiver {
    signal_queue& from;
    int& received;
    bool& in_order;
    int all;
    void go() {
      from.receive([this](eddy::result<signal_info> r) {
        in_order = in_order && r->value == received;
        if (++received < all) go();
      });
    }
  } all{queue, received, in_order, sent};
  all.go();
  loop.run();
  CHECK(sent > 0);
  CHECK(received == sent);
  CHECK(in_order);
}

TEST_CASE_FIXTURE(with_loop, "a flood of signals leaves turns to others") {
  const blocked here;
  signal_queue queue(loop, {SIGRTMIN});
  int left = 3000;
  while (left > 0 && queue_value(SIGRTMIN, 0)) --left;
  struct receiver {
    signal_queue& from;
    void go() {
      from.receive([this](eddy::result<signal_info>) { go(); });
    }
  } all{queue};
  all.go();
  int turns = 0;
  while (loop.run_ready()) ++turns;
  CHECK(turns > 2);  // a turn has at most 1,024 operations
  queue.close();
}

ASYNC_TEST("closing a queue cancels its receive, and its signals stay pending for the next queue") {
  const blocked here;
  signal_queue queue(loop, {SIGRTMIN});
  auto receiving = [](signal_queue& q) -> task<std::error_code> {
    const auto r = co_await as_result(q.receive());
    co_return r.error();
  };
  auto closing = [](signal_queue& q) -> task<> {
    co_await eddy::sleep(1s);
    CHECK(queue_value(SIGRTMIN, 7));
    q.close();
  };
  auto both = eddy::join(receiving(queue), closing(queue));
  const auto [error, nothing] = co_await std::move(both);
  CHECK(error == std::errc::operation_canceled);
  signal_queue next(loop, {SIGRTMIN});
  CHECK(next.try_receive()->value().value == 7);
}

TEST_CASE_FIXTURE(with_loop, "a program that a process starts can send a signal, and blocks none") {
  const blocked here;
  signal_queue queue(loop, {SIGUSR1});
  eddy::process child(loop, eddy::process_options("/bin/sh", {"-c", "kill -USR1 $PPID"}));
  std::optional<signal_info> got;
  queue.receive([&](eddy::result<signal_info> r) { got = *r; });
  child.wait([](eddy::result<eddy::exit_status> end) { CHECK(end->success()); });
  const ::pid_t pid = child.pid();
  loop.run();
  CHECK(got->sender == pid);
}

TEST_CASE_FIXTURE(with_loop, "each error of a receive is reported, and EINTR is not") {
  const blocked here;
  failing_system system;
  signal_queue queue(loop, {SIGRTMIN});
  CHECK(queue_value(SIGRTMIN, 1));
  system.fail(call::read, EIO);
  CHECK(queue.try_receive()->error() == std::errc::io_error);
  system.fail(call::read, EINTR);
  CHECK(queue.try_receive()->value().value == 1);
  system.fail(call::open_signals, EMFILE);
  CHECK_THROWS_AS(signal_queue(loop, {SIGRTMIN}), std::system_error);
}

ASYNC_TEST("the error of an awaited receive names the signal_queue") {
  const blocked here;
  signal_queue queue(loop, {SIGRTMIN});
  CHECK(queue_value(SIGRTMIN, 1));
  std::string words;
  failing_system system;
  system.fail(call::read, EIO);
  try {
    co_await queue.receive();
  } catch (const std::system_error& e) {
    words = e.what();
  }
  CHECK(words == "receive from a signal_queue: Input/output error");
  CHECK(queue.try_receive()->value().value == 1);
}

TEST_CASE("misuse of a signal_queue stops the program with a sentence") {
  dies_saying("to be blocked by this thread: use pthread_sigmask", [] {
    eddy::event_loop loop;
    const signal_queue queue(loop, {SIGUSR2});
  });
  dies_saying("a signal_queue needs signal 100 to be blocked", [] {
    eddy::event_loop loop;
    const signal_queue queue(loop, {100});
  });
  dies_saying("a signal_queue was used that is not open",
              [] { static_cast<void>(signal_queue().try_receive()); });
}

namespace {

struct receives {
  explicit receives(eddy::trial& t) : of(t), queue(t.loop(), {SIGRTMIN}) {}
  task<> work() {
    const eddy::trial::part held(of);
    auto both = eddy::join(receive(), send());
    co_await std::move(both);
  }
  task<> receive() {
    const signal_info r = co_await queue.receive();
    received += r.value;
  }
  task<> send() {
    co_await eddy::sleep(1s);
    if (queue_value(SIGRTMIN, 5)) sent += 5;
  }
  std::string check(bool) {
    while (const auto r = queue.try_receive()) received += (*r)->value;
    return received == sent ? "" : "a signal is lost";
  }
  const blocked here;
  eddy::trial& of;
  signal_queue queue;
  int sent = 0;
  int received = 0;
};

}  // namespace

TEST_CASE("a receive ends cleanly at every point and loses no signal") {
  check_report(eddy::every_point<receives>());
  check_report(eddy::every_point<receives>(1));
}
