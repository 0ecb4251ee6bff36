// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/signal.h>.
#include <eddy/loop/signal.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/ready_node.h>
#include <eddy/loop/timer.h>

#include "support/any_loop.h"
#include "support/asleep.h"
#include "support/forked.h"
#include "support/journal.h"
#include "support/tidy.h"

using namespace std::chrono_literals;

static_assert(std::is_nothrow_move_constructible_v<eddy::signal>);
static_assert(!std::is_copy_constructible_v<eddy::signal>);

namespace {

volatile std::sig_atomic_t own_calls = 0;

/// A handler of the program's own for SIGUSR1, for a scope.
class own_handler_of_usr1 {
public:
  own_handler_of_usr1() {
    own_calls = 0;
    struct sigaction own{};
    own.sa_handler = [](int) { own_calls = own_calls + 1; };
    ::sigaction(SIGUSR1, &own, &before_);
  }
  own_handler_of_usr1(const own_handler_of_usr1&) = delete;
  own_handler_of_usr1& operator=(const own_handler_of_usr1&) = delete;
  ~own_handler_of_usr1() { ::sigaction(SIGUSR1, &before_, nullptr); }

private:
  struct sigaction before_{};
};

bool is_default(int number) {
  struct sigaction now{};
  ::sigaction(number, nullptr, &now);
  return now.sa_handler == SIG_DFL;
}

struct counting : eddy::ready_node {
  explicit counting(int& c) noexcept
      : ready_node([](ready_node& n) { ++static_cast<counting&>(n).count; }), count(c) {}
  int& count;
};

}  // namespace

TEST_CASE_TEMPLATE("each arriving signal calls the handler on the loop", Loop, ANY_LOOP) {
  Loop on;
  journal note;
  eddy::signal usr1(on.loop, SIGUSR1);
  usr1.start([&] {
    note("told");
    if (note == "told told told") return usr1.stop();
    std::raise(SIGUSR1);
  });
  CHECK(usr1.active());
  CHECK(usr1.number() == SIGUSR1);
  std::raise(SIGUSR1);
  CHECK(note == "");

  on.run();
  CHECK(note == "told told told");
  CHECK_FALSE(usr1.active());
}

TEST_CASE_TEMPLATE("a signal ends the wait of its loop", Loop, ANY_LOOP) {
  Loop on;
  eddy::signal alarm(on.loop, SIGALRM);
  alarm.start([&] { alarm.stop(); });
  ::ualarm(2000, 0);
  on.run();
  CHECK_FALSE(alarm.active());
}

TEST_CASE_FIXTURE(with_loop, "signals that arrive close together call the handler once") {
  journal note;
  eddy::signal usr1(loop, SIGUSR1);
  usr1.start([&] { note("told"); });
  for (int i = 0; i < 10; ++i) std::raise(SIGUSR1);
  loop.run_ready();
  CHECK(note == "told");
  CHECK_FALSE(loop.run_ready());
}

TEST_CASE_FIXTURE(with_loop, "signals of one turn run by number, and then in order of starting") {
  journal note;
  eddy::signal usr2(loop, SIGUSR2);
  eddy::signal last(loop, SIGUSR1);
  eddy::signal first(loop, SIGUSR1);
  usr2.start([&] { note("usr2"); });
  first.start([&] { note("first"); });
  last.start([&] { note("last"); });
  std::raise(SIGUSR2);
  std::raise(SIGUSR1);
  loop.run_ready();
  CHECK(note == "first last usr2");
}

TEST_CASE_FIXTURE(with_loop, "the earlier action is restored when the last watcher stops") {
  const own_handler_of_usr1 own;
  journal note;
  eddy::signal one(loop, SIGUSR1);
  std::optional<eddy::signal> two(std::in_place, loop, SIGUSR1);
  one.start([&] { note("one"); });
  two->start([&] { note("two"); });
  std::raise(SIGUSR1);
  loop.run_ready();
  CHECK(note == "one two");
  CHECK(own_calls == 0);

  one.stop();
  std::raise(SIGUSR1);
  loop.run_ready();
  CHECK(note == "one two two");
  two.reset();
  std::raise(SIGUSR1);
  CHECK(own_calls == 1);
  CHECK(is_default(SIGUSR2));
}

TEST_CASE_FIXTURE(with_loop, "an action that was installed meanwhile stays") {
  eddy::signal watched(loop, SIGUSR1);
  watched.start([] {});
  own_calls = 0;
  std::signal(SIGUSR1, [](int) { own_calls = own_calls + 1; });
  watched.stop();
  std::raise(SIGUSR1);
  CHECK(own_calls == 1);
  std::signal(SIGUSR1, SIG_DFL);
}

TEST_CASE_FIXTURE(with_loop, "a signal that cannot be watched is refused") {
  for (const int number :
       {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, 0, -1, 32, 33, 65, 1000000}) {
    CAPTURE(number);
    CHECK_THROWS_AS(eddy::signal(loop, number), std::system_error);
  }
  for (const int number : {SIGHUP, SIGTERM, SIGINT, SIGCHLD, SIGPIPE, SIGRTMIN, SIGRTMAX}) {
    CAPTURE(number);
    eddy::signal good(loop, number);
    good.start([] {});
  }
  CHECK(is_default(SIGRTMAX));
}

TEST_CASE_FIXTURE(with_loop, "a stopped signal calls no handler, even if a signal has arrived") {
  journal note;
  eddy::signal first(loop, SIGUSR1);
  auto second = std::make_unique<eddy::signal>(loop, SIGUSR1);
  eddy::signal third(loop, SIGUSR1);
  first.start([&] {
    note("first");
    second.reset();
    third.stop();
  });
  second->start([&] { note("second"); });
  third.start([&] { note("third"); });
  std::raise(SIGUSR1);
  loop.run_ready();
  CHECK(note == "first");

  SUBCASE("nor for a signal that arrived before the start") {
    first.stop();
    std::signal(SIGUSR1, SIG_IGN);
    std::raise(SIGUSR1);
    std::signal(SIGUSR1, SIG_DFL);
    third.start([&] { note("third"); });
    loop.run_ready();
    CHECK(note == "first");
  }
  SUBCASE("nor for a signal that arrived before another start") {
    std::raise(SIGUSR1);
    first.stop();
    third.start([&] { note("third"); });
    loop.run_ready();
    CHECK(note == "first");
  }
}

TEST_CASE_FIXTURE(with_loop, "a signal's handler may use the signal") {
  journal note;
  auto usr1 = std::make_unique<eddy::signal>(loop, SIGUSR1);
  const auto raise_twice = [&] {
    std::raise(SIGUSR1);
    loop.run_ready();
    if (!is_default(SIGUSR1)) std::raise(SIGUSR1);
    loop.run_ready();
  };

  SUBCASE("destroy it") {
    usr1->start([&] {
      usr1.reset();
      note("destroyed");
    });
    raise_twice();
    CHECK(note == "destroyed");
  }
  SUBCASE("change the handler") {
    usr1->start([&] {
      note("one");
      usr1->start([&] { note("two"); });
    });
    raise_twice();
    CHECK(note == "one two");
  }
  SUBCASE("stop and start it") {
    usr1->start([&] {
      usr1->stop();
      note("one");
      usr1->start([&] { note("two"); });
    });
    raise_twice();
    CHECK(note == "one two");
  }
  SUBCASE("move it") {
    usr1->start([&] {
      usr1 = std::make_unique<eddy::signal>(std::move(*usr1));
      note("moved");
    });
    raise_twice();
    CHECK(note == "moved moved");
  }
  SUBCASE("throw") {
    usr1->start([&] {
      note("thrown");
      throw std::runtime_error("no");
    });
    std::raise(SIGUSR1);
    CHECK_THROWS_AS(loop.run(), std::runtime_error);
    std::raise(SIGUSR1);
    CHECK_THROWS_AS(loop.run(), std::runtime_error);
    CHECK(note == "thrown thrown");
  }
}

TEST_CASE_FIXTURE(with_loop, "a moved signal keeps its position among the watchers") {
  journal note;
  eddy::signal a(loop, SIGUSR1);
  eddy::signal b(loop, SIGUSR1);
  a.start([&] { note("a"); });
  b.start([&] { note("b"); });
  eddy::signal moved(std::move(a));
  CHECK_FALSE(a.active());
  std::raise(SIGUSR1);
  loop.run_ready();
  CHECK(note == "a b");
}

TEST_CASE_TEMPLATE("a signal in the background does not keep its loop running", Loop, ANY_LOOP) {
  Loop on;
  bool told = false;
  eddy::signal usr1(on.loop, SIGUSR1);
  usr1.background(true);
  usr1.start([&] { told = true; });
  on.run();
  CHECK(on.loop.count().waiting == 0);
  CHECK_FALSE(told);

  SUBCASE("but calls its handler while other work keeps it running") {
    eddy::timer timer(on.loop);
    timer.start(1ms, [] { std::raise(SIGUSR1); });
    eddy::timer later(on.loop);
    later.start_every(1ms, [&] {
      if (told) later.stop();
    });
    on.run();
    CHECK(told);
  }
  SUBCASE("until it is put back in the foreground") {
    usr1.background(false);
    CHECK(on.loop.count().waiting == 1);
    usr1.background(true);
    CHECK(on.loop.count().waiting == 0);
  }
}

TEST_CASE_FIXTURE(with_loop, "a signal changes no errno, and restarts what it interrupts") {
  eddy::signal alarm(loop, SIGALRM);
  alarm.start([] {});
  errno = 12345;
  std::raise(SIGALRM);
  CHECK(errno == 12345);

  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const ::pid_t writer = start_forked([&, reader = ::getpid()] {
    wait_until_asleep(reader);
    ::kill(reader, SIGALRM);
    wait_until_asleep(reader);  // in its read again
    return ::write(ends[1], "x", 1) == 1;
  });
  char one = 0;
  CHECK(::read(ends[0], &one, 1) == 1);
  CHECK(end_of(writer) == 0);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE_FIXTURE(tidy,
                  "a signal that arrives between the clock reading and the wait is not lost") {
  // The signal is sent repeatedly, at any moment of the loop's turns, and each time only after the
  // handler has run.
  eddy::event_loop loop;
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const ::pid_t here = ::getpid();
  const ::pid_t sender = start_forked([&] {
    ::close(ends[1]);
    for (char byte = 0; ::read(ends[0], &byte, 1) == 1;) ::kill(here, SIGUSR1);
    return true;
  });
  int told = 0;
  eddy::signal usr1(loop, SIGUSR1);
  usr1.start([&] {
    if (++told == 2000) return usr1.stop();
    CHECK(::write(ends[1], "x", 1) == 1);
  });
  eddy::timer busy(loop);
  busy.background(true);
  busy.start_every(50us, [] {}, eddy::resolution::fine);
  CHECK(::write(ends[1], "x", 1) == 1);
  loop.run();
  CHECK(told == 2000);
  ::close(ends[0]);
  ::close(ends[1]);
  CHECK(end_of(sender) == 0);
}

TEST_CASE_FIXTURE(tidy, "two loops can watch one signal, and both call their handlers") {
  eddy::event_loop a;
  eddy::event_loop b;
  journal note;
  eddy::signal in_a(a, SIGUSR1);
  eddy::signal in_b(b, SIGUSR1);
  in_a.start([&] { note("a"); });
  in_b.start([&] { note("b"); });
  std::raise(SIGUSR1);
  b.run_ready();
  a.run_ready();
  CHECK(note == "b a");

  in_a.stop();
  std::raise(SIGUSR1);
  a.run_ready();
  b.run_ready();
  CHECK(note == "b a b");
  in_b.stop();
  CHECK(is_default(SIGUSR1));
}

TEST_SUITE("threads") {
  TEST_CASE_FIXTURE(tidy,
                    "loops of several threads report one signal while other loops come and go") {
    constexpr int threads = 3;
    std::atomic<int> ready{0};
    std::atomic<int> told{0};
    std::atomic<bool> over{false};
    std::vector<std::thread> all;
    const own_handler_of_usr1 otherwise;
    for (int t = 0; t < threads; ++t) {
      all.emplace_back([&] {
        eddy::event_loop loop;
        eddy::signal usr1(loop, SIGUSR1);
        usr1.start([&] {
          ++told;
          usr1.stop();
        });
        ++ready;
        loop.run();
      });
    }
    std::thread restless([&] {
      while (!over) {
        eddy::event_loop loop;
        eddy::signal usr1(loop, SIGUSR1);
        usr1.start([] {});
        loop.run_ready();
      }
    });
    while (ready != threads) std::this_thread::yield();
    ::kill(::getpid(), SIGUSR1);
    for (auto& t : all) t.join();
    for (int i = 0; i < 100; ++i) {
      ::kill(::getpid(), SIGUSR1);
      std::this_thread::yield();
    }
    over = true;
    restless.join();
    CHECK(told == threads);
  }
}

TEST_CASE_FIXTURE(tidy,
                  "the child of a fork keeps its watchers, and reports nothing to its parent") {
  eddy::event_loop loop;
  int told = 0;
  eddy::signal usr1(loop, SIGUSR1);
  usr1.start([&] { ++told; });

  SUBCASE("of a signal that arrives in the child") {
    CHECK(holds_in_child([&] {
      std::raise(SIGUSR1);
      loop.run_once();
      if (told != 1) return false;
      std::raise(SIGUSR1);
      loop.run_once();
      return told == 2;
    }));
    CHECK_FALSE(loop.run_ready());
    CHECK(told == 0);
  }
  SUBCASE("while a signal of the parent is pending") {
    std::raise(SIGUSR1);
    CHECK(holds_in_child([&] {
      loop.run_ready();
      return told == 0;
    }));
    loop.run_ready();
    CHECK(told == 1);
  }
  SUBCASE("at whatever moment the signal arrives") {
    for (int i = 0; i < 100; ++i) {
      const ::pid_t pid = ::fork();
      if (pid == 0) {
        ::alarm(20);
        while (told == 0) loop.run_once();
        ::_exit(told == 1 ? 0 : 1);
      }
      for (int turns = 0; turns < 20 * i; ++turns) std::this_thread::yield();
      ::kill(pid, SIGUSR1);
      REQUIRE(end_of(pid) == 0);
    }
    CHECK_FALSE(loop.run_ready());
  }
}

TEST_CASE_FIXTURE(with_loop,
                  "a signal that arrives again before its handler runs calls the handler once") {
  journal note;
  eddy::signal usr1(loop, SIGUSR1);
  eddy::signal usr2(loop, SIGUSR2);
  usr1.start([&] { note("usr1"); });
  usr2.start([&] {
    note("usr2");
    usr2.stop();
  });
  std::raise(SIGUSR1);
  std::raise(SIGUSR2);
  // A turn that `end_turn` ends runs one entry and leaves the others.
  eddy::timer timer(loop);
  timer.start(0s, [&] {
    loop.end_turn();
    std::raise(SIGUSR1);
  });
  for (int i = 0; i < 5; ++i) loop.run_ready();
  CHECK(note == "usr1 usr2");
}

TEST_CASE_FIXTURE(with_loop, "a node may wait for a signal, which may be moved meanwhile") {
  int told = 0;
  counting node(told);
  eddy::signal usr1(loop, SIGUSR1);
  usr1.wait(node);
  SUBCASE("not at all") {
    std::raise(SIGUSR1);
    loop.run_ready();
    CHECK(told == 1);
    usr1.stop();
  }
  SUBCASE("once") {
    eddy::signal moved(std::move(usr1));
    std::raise(SIGUSR1);
    loop.run_ready();
    CHECK(told == 1);
  }
}

TEST_CASE_FIXTURE(with_loop,
                  "a node that waits for a signal runs once, and may be destroyed then") {
  int told = 0;
  std::optional<counting> node(std::in_place, told);
  eddy::signal usr1(loop, SIGUSR1);
  const eddy::signal other(loop, SIGUSR1);
  usr1.wait(*node);
  CHECK(usr1.active());
  std::raise(SIGUSR1);
  loop.run_ready();
  CHECK(told == 1);
  CHECK(!usr1.active());
  CHECK(loop.count().waiting == 0);
  node.reset();
  eddy::signal handled(loop, SIGUSR1);
  handled.start([&] { told += 10; });
  std::raise(SIGUSR1);
  loop.run_ready();
  CHECK(told == 11);
  node.emplace(told);
  usr1.wait(*node);
  std::raise(SIGUSR1);
  loop.run_ready();
  CHECK(told == 22);
}

TEST_CASE_FIXTURE(
    with_loop,
    "a signal whose wait ends before its node runs is kept, unless another watcher got it") {
  int told = 0;
  counting first(told);
  eddy::signal usr1(loop, SIGUSR1);
  std::optional<eddy::signal> other(std::in_place, loop, SIGUSR1);
  bool heard = true;
  SUBCASE("by another watcher") {
    other->start([] {});
  }
  SUBCASE("by no other watcher") { heard = false; }
  usr1.wait(first);
  std::raise(SIGUSR1);
  eddy::timer timer(loop);
  timer.start(0s, [&] { usr1.stop(); });
  loop.run_ready();
  CHECK(told == 0);
  other.reset();
  usr1.wait(first);
  loop.run_ready();
  CHECK(told == (heard ? 0 : 1));
}

TEST_CASE_FIXTURE(with_loop, "an arrived signal is kept when its last wait ends") {
  int told = 0;
  counting node(told);
  eddy::signal waits(loop, SIGUSR1);
  eddy::signal handled(loop, SIGUSR1);
  handled.start([&] { told += 10; });
  const auto raise_and_stop = [&](eddy::signal& first, eddy::signal& second) {
    waits.wait(node);
    std::raise(SIGUSR1);
    first.stop();
    second.stop();
    waits.wait(node);
    loop.run_ready();
  };
  SUBCASE("before a handler") {
    raise_and_stop(waits, handled);
    CHECK(told == 1);
  }
  SUBCASE("after a handler") {
    raise_and_stop(handled, waits);
    CHECK(told == 1);
  }
  SUBCASE("unless a handler gets it") {
    waits.wait(node);
    std::raise(SIGUSR1);
    waits.stop();
    loop.run_ready();
    CHECK(told == 10);
    std::raise(SIGUSR1);  // nobody waits
    handled.stop();
    waits.wait(node);
    loop.run_ready();
    CHECK(told == 10);
  }
}

TEST_CASE_FIXTURE(with_loop, "a stopped watcher does not count as having got a signal") {
  int told = 0;
  counting node(told);
  eddy::signal waits(loop, SIGUSR1);
  eddy::signal handled(loop, SIGUSR1);
  int heard = 0;
  handled.start([&] { ++heard; });
  waits.wait(node);
  std::raise(SIGUSR1);
  eddy::timer timer(loop);
  bool given_back = true;
  SUBCASE("before") {
    timer.start(0s, [&] {
      handled.stop();
      waits.stop();
    });
  }
  SUBCASE("after") {
    timer.start(0s, [&] {
      waits.stop();
      handled.stop();
    });
  }
  SUBCASE("and a stopped handler alone does not keep the signal") {
    given_back = false;
    waits.stop();
    timer.start(0s, [&] { handled.stop(); });
  }
  loop.run_ready();
  CHECK(heard == 0);
  waits.wait(node);
  loop.run_ready();
  CHECK(told == (given_back ? 1 : 0));
}

TEST_CASE_FIXTURE(tidy,
                  "a kept or queued signal of the parent is not reported in the child of a fork") {
  eddy::event_loop loop;
  int told = 0;
  counting first(told);
  counting second(told);
  eddy::signal waits(loop, SIGUSR1);
  waits.wait(first);
  std::raise(SIGUSR1);
  bool given_back = true;
  SUBCASE("that is kept") {}
  SUBCASE("that is queued") { given_back = false; }
  eddy::timer timer(loop);
  timer.start(0s, [&] {
    if (given_back) waits.stop();
    loop.end_turn();
  });
  loop.run_ready();
  CHECK(holds_in_child([&] {
    if (given_back) waits.wait(second);
    for (int i = 0; i < 3; ++i) loop.run_ready();
    return told == 0;
  }));
  waits.stop();
}

TEST_CASE_FIXTURE(with_loop,
                  "a signal whose wait ends early goes to a node that began to wait since") {
  int told = 0;
  counting first(told);
  counting second(told);
  counting third(told);
  eddy::signal early(loop, SIGUSR1);
  eddy::signal late(loop, SIGUSR1);
  eddy::signal handled(loop, SIGUSR1);
  int heard = 0;
  early.wait(first);
  std::raise(SIGUSR1);
  eddy::timer timer(loop);
  timer.start(0s, [&] {
    late.wait(second);
    handled.start([&] { ++heard; });  // of those that come from now on
    early.stop();
  });
  bool again = false;
  SUBCASE("once") {}
  SUBCASE("and when that wait ends early, too, to the next") { again = true; }
  loop.run_ready();
  loop.run_ready();
  CHECK(told == 1);
  if (again) {
    late.wait(second);
    std::raise(SIGUSR1);
    handled.stop();
    timer.start(0s, [&] { late.stop(); });
    loop.run_ready();
  }
  CHECK(heard == 0);
  handled.stop();
  early.wait(third);
  loop.run_ready();
  CHECK(told == (again ? 2 : 1));
}

TEST_CASE_FIXTURE(with_loop, "a signal that is put in the background twice counts once") {
  eddy::signal usr1(loop, SIGUSR1);
  usr1.start([] {});
  for (int i = 0; i < 2; ++i) {
    usr1.background(true);
    CHECK(loop.count().waiting == 0);
  }
  for (int i = 0; i < 2; ++i) {
    usr1.background(false);
    CHECK(loop.count().waiting == 1);
  }
}

TEST_CASE_FIXTURE(with_loop, "a signal is handled on the alternate stack, if there is one") {
  // A thread with a small stack needs this.
  eddy::signal usr1(loop, SIGUSR1);
  usr1.start([] {});
  struct sigaction now{};
  ::sigaction(SIGUSR1, nullptr, &now);
  CHECK((now.sa_flags & SA_ONSTACK) != 0);
}

TEST_CASE_FIXTURE(tidy, "a signal to the child of a fork does not wake its parent") {
  eddy::event_loop loop;
  eddy::signal usr1(loop, SIGUSR1);
  usr1.start([] {});
  loop.run_ready();
  pollfd set{.fd = loop.descriptor(), .events = POLLIN, .revents = 0};
  CHECK(holds_in_child([] { return std::raise(SIGUSR1) == 0; }));
  CHECK(::poll(&set, 1, 0) == 0);
  usr1.stop();
}

TEST_CASE_FIXTURE(tidy, "destroying a loop before its signals aborts") {
  dies_saying("1 descriptors, signals, files or children watched", [] {
    std::optional<eddy::event_loop> loop(std::in_place);
    eddy::signal usr1(*loop, SIGUSR1);
    usr1.start([] {});
    loop.reset();
  });
}
