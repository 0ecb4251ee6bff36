// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/readiness.h>.
#include <eddy/loop/readiness.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/detail/watch.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer.h>

#include "support/any_loop.h"
#include "support/epoll_refusal.h"
#include "support/forked.h"
#include "support/journal.h"
#include "support/socket_pair.h"
#include "support/thrown.h"
#include "support/tidy.h"

using namespace std::chrono_literals;
using direction = eddy::readiness::direction;

static_assert(std::is_nothrow_move_constructible_v<eddy::readiness>);
static_assert(std::is_nothrow_move_assignable_v<eddy::readiness>);
static_assert(!std::is_copy_constructible_v<eddy::readiness>);

namespace {

/// Returns the error that the constructor throws for a descriptor.
std::error_code refusal(eddy::event_loop& loop, int descriptor) {
  try {
    const eddy::readiness watched(loop, descriptor);
  } catch (const std::system_error& e) {
    INFO(e.what());
    CHECK(std::string(e.what()).contains("descriptor " + std::to_string(descriptor)));
    return e.code();
  }
  return {};
}

}  // namespace

TEST_CASE_TEMPLATE("a wait to read calls its handler once", Loop, ANY_LOOP) {
  Loop on;
  socket_pair pair;
  journal note;
  eddy::readiness near(on.loop, pair.near());
  near.wait_readable([&](std::error_code error) {
    CHECK_FALSE(error);
    note(pair.receive());
  });
  CHECK(near.waiting(direction::read));
  CHECK_FALSE(near.waiting(direction::write));
  eddy::timer sender(on.loop);
  sender.start(1ms, [&] {
    pair.send("hello");
    pair.send(" again");
  });

  on.run();
  CHECK(note == "hello again");
  CHECK_FALSE(near.waiting(direction::read));
}

TEST_CASE_TEMPLATE("a wait to write calls its handler", Loop, ANY_LOOP) {
  Loop on;
  socket_pair pair;
  pair.fill();
  journal note;
  eddy::readiness near(on.loop, pair.near());
  near.wait_writable([&](std::error_code) { note("writable"); });
  eddy::timer reader(on.loop);
  reader.start(1ms, [&] {
    note("reading");
    pair.empty();
  });

  on.run();
  CHECK(note == "reading writable");
}

TEST_CASE_TEMPLATE("waits in both directions can be pending at once", Loop, ANY_LOOP) {
  Loop on;
  socket_pair pair;
  pair.fill();
  journal note;
  eddy::readiness near(on.loop, pair.near());
  near.wait_writable([&](std::error_code) { note("writable"); });
  near.wait_readable([&](std::error_code) {
    note("readable");
    pair.empty();
  });
  pair.send();

  on.run();
  CHECK(note == "readable writable");
}

TEST_CASE_TEMPLATE("a hang-up makes both directions ready", Loop, ANY_LOOP) {
  Loop on;
  socket_pair pair;
  pair.fill();
  journal note;
  eddy::readiness near(on.loop, pair.near());
  near.wait_writable([&](std::error_code error) { note(error ? "error" : "writable"); });
  near.wait_readable([&](std::error_code error) { note(error ? "error" : "readable"); });
  pair.close_far();

  on.run();
  CHECK(note == "readable writable");
}

TEST_CASE_TEMPLATE("a handler may wait again", Loop, ANY_LOOP) {
  Loop on;
  socket_pair pair;
  int left = 1000;
  eddy::readiness near(on.loop, pair.near());
  struct echo {
    eddy::readiness& near;
    socket_pair& pair;
    int& left;
    void operator()(std::error_code) const {
      CHECK(pair.receive() == "x");
      if (--left == 0) return;
      near.wait_readable(*this);
      pair.send();
    }
  };
  near.wait_readable(echo{near, pair, left});
  pair.send();
  on.run();
  CHECK(left == 0);
}

TEST_CASE_TEMPLATE("data without a wait does not make the loop spin", Loop, ANY_LOOP) {
  Loop on;
  socket_pair pair;
  eddy::readiness near(on.loop, pair.near());
  near.wait_readable([](std::error_code) {});
  pair.send();
  on.run();  // what was sent is never read

  struct rusage before{};
  ::getrusage(RUSAGE_THREAD, &before);
  eddy::timer timer(on.loop);
  timer.start(100ms, [] {});
  on.run();
  struct rusage after{};
  ::getrusage(RUSAGE_THREAD, &after);
  const auto used = [](const struct rusage& u) {
    return std::chrono::seconds(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           std::chrono::microseconds(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
  };
  CHECK(used(after) - used(before) < 50ms);
}

TEST_CASE_TEMPLATE("a stopped wait calls no handler", Loop, ANY_LOOP) {
  Loop on;
  socket_pair one;
  socket_pair two;
  eddy::readiness near(on.loop, one.near());
  std::optional<eddy::readiness> other(std::in_place, on.loop, two.near());
  const auto never = [](std::error_code) { FAIL_CHECK("was called"); };
  one.send();
  two.send();

  SUBCASE("before data arrives") {
    near.wait_readable(never);
    near.stop();
    on.run();
  }
  SUBCASE("in one direction") {
    bool writable = false;
    near.wait_readable(never);
    near.wait_writable([&](std::error_code) { writable = true; });
    near.stop(direction::read);
    on.run();
    CHECK(writable);
  }
  SUBCASE("when both are queued, by the first handler") {
    journal note;
    near.wait_readable([&](std::error_code) {
      note("called");
      other.reset();
    });
    other->wait_readable([&](std::error_code) {
      note("called");
      near.stop();
    });
    on.run();
    CHECK(note == "called");
  }
  near.stop();
}

TEST_CASE_TEMPLATE("a handler may destroy its readiness", Loop, ANY_LOOP) {
  Loop on;
  socket_pair pair;
  std::optional<eddy::readiness> near(std::in_place, on.loop, pair.near());
  bool told = false;
  near->wait_readable([&](std::error_code) {
    near.reset();
    pair.close_near();
    told = true;
  });
  pair.send();
  on.run();
  CHECK(told);
}

TEST_CASE_TEMPLATE("a readiness may be moved during a wait", Loop, ANY_LOOP) {
  Loop on;
  socket_pair one;
  socket_pair two;
  journal note;
  eddy::readiness first(on.loop, one.near());
  eddy::readiness second(on.loop, two.near());
  first.wait_readable([&](std::error_code) { note("first"); });
  second.wait_readable([&](std::error_code) { FAIL_CHECK("was assigned to"); });
  one.send();
  two.send();

  eddy::readiness moved(std::move(first));
  second = std::move(moved);
  CHECK(second.descriptor() == one.near());
  on.run();
  CHECK(note == "first");
}

TEST_CASE_TEMPLATE("a node can wait instead of a handler", Loop, ANY_LOOP) {
  Loop on;
  struct told : eddy::ready_node {
    told() : ready_node(&run) {}
    static void run(eddy::ready_node& node) { ++static_cast<told&>(node).times; }
    int times = 0;
  };
  socket_pair pair;
  told node;
  eddy::readiness near(on.loop, pair.near());
  near.wait(direction::read, node);
  pair.send();
  on.run();
  CHECK(node.times == 1);
  CHECK_FALSE(near.error());
}

TEST_CASE_TEMPLATE("a wait in the background keeps no loop running", Loop, ANY_LOOP) {
  Loop on;
  socket_pair pair;
  bool told = false;
  eddy::readiness near(on.loop, pair.near());
  near.wait_readable([&](std::error_code) { told = true; });
  near.background(true);
  on.run();
  CHECK_FALSE(told);

  eddy::timer timer(on.loop);
  timer.start(1ms, [&] { pair.send(); });
  SUBCASE("but calls its handler while other work keeps it running") {
    eddy::timer later(on.loop);
    later.start_every(1ms, [&] {
      if (told) later.stop();
    });
    on.run();
  }
  SUBCASE("until it is put back in the foreground") {
    near.background(false);
    on.run();
  }
  CHECK(told);
}

TEST_CASE_TEMPLATE("a descriptor that cannot be watched is refused at once", Loop, ANY_LOOP) {
  Loop on;
  SUBCASE("a negative descriptor") {
    CHECK(refusal(on.loop, -1) == std::errc::bad_file_descriptor);
    CHECK(refusal(on.loop, -100) == std::errc::bad_file_descriptor);
  }
  SUBCASE("a closed descriptor") {
    const int gone = ::eventfd(0, EFD_CLOEXEC);
    ::close(gone);
    CHECK(refusal(on.loop, gone) == std::errc::bad_file_descriptor);
    CHECK(refusal(on.loop, 1000000) == std::errc::bad_file_descriptor);
  }
  SUBCASE("a descriptor that only names a file") {
    const socket_pair pair;
    const std::string socket = "/proc/self/fd/" + std::to_string(pair.near());
    for (const char* file : {"/", "/proc/self/exe", "/dev/null", socket.c_str()}) {
      const int path = ::open(file, O_PATH | O_CLOEXEC);
      CHECK(refusal(on.loop, path) == std::errc::bad_file_descriptor);
      ::close(path);
    }
  }
  SUBCASE("the loop's own descriptor") {
    CHECK(refusal(on.loop, on.loop.descriptor()) == std::errc::invalid_argument);
  }
  on.run();
}

TEST_CASE_TEMPLATE("a file, a directory and a device that never waits are always ready", Loop,
                   ANY_LOOP) {
  Loop on;
  for (const char* path : {"/proc/self/exe", "/", "/dev/null"}) {
    const int file = ::open(path, O_RDONLY | O_CLOEXEC);
    {
      eddy::readiness readable(on.loop, file);
      journal note;
      const auto told = [&](std::error_code error) { note(error ? error.message() : "ready"); };
      for (int times = 0; times < 3; ++times) {
        readable.wait_readable(told);
        readable.wait_writable(told);
        on.run();
      }
      CHECK(note == "ready ready ready ready ready ready");
    }
    ::close(file);
  }
}

TEST_CASE_FIXTURE(with_loop, "a file without a wait lets the loop sleep") {
  const int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  {
    eddy::readiness readable(loop, file);
    readable.wait_readable([](std::error_code) {});
    loop.run();
    eddy::timer timer(loop);
    timer.start(50ms, [] {});
    int turns = 0;
    for (; timer.active(); ++turns) loop.run_once();
    CHECK(turns < 10);
  }
  ::close(file);
}

TEST_CASE_FIXTURE(with_loop, "a forked child is refused before its first turn, too") {
  CHECK(holds_in_child([&] { return refusal(loop, -1) == std::errc::bad_file_descriptor; }));
}

TEST_CASE_TEMPLATE("two loops that wait for each other are refused", Loop, ANY_LOOP) {
  Loop on;
  eddy::event_loop other;
  const int number = other.descriptor();
  eddy::readiness inner(other, on.loop.descriptor());
  inner.wait_readable([](std::error_code) {});

  SUBCASE("at once, when the kernel knows the first wait") {
    other.run_ready();
    CHECK(refusal(on.loop, number) == std::errc::too_many_symbolic_link_levels);
  }
  SUBCASE("in the wait, when the kernel learns of the first wait later") {
    eddy::readiness outer(on.loop, number);
    std::error_code got;
    outer.wait_readable([&](std::error_code error) { got = error; });
    other.run_ready();
    on.run();
    CHECK(got == std::errc::too_many_symbolic_link_levels);
    CHECK(outer.error() == got);
  }
  inner.stop();
}

TEST_CASE_TEMPLATE("a wait fails if its descriptor is closed before the kernel is shown it", Loop,
                   ANY_LOOP) {
  Loop on;
  socket_pair pair;
  eddy::readiness near(on.loop, pair.near());
  journal note;
  const auto told = [&](std::error_code error) {
    CHECK(error == std::errc::bad_file_descriptor);
    note("told");
  };
  near.wait_readable(told);
  near.wait_writable(told);
  pair.close_near();

  on.run();
  CHECK(note == "told told");
  near.wait_readable(told);
  on.run();
  CHECK(note == "told told told");
}

TEST_CASE_TEMPLATE("a wait on a closed descriptor fails when its number is reused", Loop,
                   ANY_LOOP) {
  Loop on;
  std::optional<socket_pair> pair(std::in_place);
  eddy::readiness old(on.loop, pair->near());
  std::error_code got;
  old.wait_readable([&](std::error_code error) { got = error; });
  on.loop.run_ready();
  const int number = pair->near();
  pair->close_near();

  SUBCASE("as a socket") {
    socket_pair fresh;
    REQUIRE(fresh.near() == number);
    eddy::readiness watched(on.loop, number);
    bool told = false;
    watched.wait_readable([&](std::error_code error) { told = !error; });
    fresh.send();
    on.run();
    CHECK(told);
  }
  SUBCASE("as a socket that is readable from the first") {
    int fresh = -1;
    SUBCASE("without an inode of its own") { fresh = ::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK); }
    SUBCASE("a file") { fresh = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC); }
    SUBCASE("a directory") { fresh = ::open("/", O_RDONLY | O_CLOEXEC); }
    SUBCASE("a device that never waits") { fresh = ::open("/dev/null", O_RDONLY | O_CLOEXEC); }
    REQUIRE(fresh == number);
    {
      eddy::readiness watched(on.loop, number);
      bool told = false;
      watched.wait_readable([&](std::error_code error) { told = !error; });
      on.run();
      CHECK(told);
    }
    ::close(fresh);
  }
  CHECK(got == std::errc::bad_file_descriptor);
}

TEST_CASE_TEMPLATE("a watch that changes before the kernel is shown it still works", Loop,
                   ANY_LOOP) {
  Loop on;
  const socket_pair first;
  const socket_pair second;
  socket_pair watched;
  eddy::readiness other(on.loop, watched.near());
  journal note;
  const auto tell = [&note](std::error_code error) { note(error ? "failed" : "ready"); };
  // Two turns handle the events of one round of libev; the second turn does not look at libev.
  int handled = 0;
  const auto begin_a_wait = [&](std::error_code) {
    on.loop.end_turn();
    ++handled == 1 ? other.wait_readable(tell) : other.wait_writable(tell);
  };
  first.send();
  second.send();
  eddy::readiness a(on.loop, first.near());
  eddy::readiness b(on.loop, second.near());
  a.wait_readable(begin_a_wait);
  b.wait_readable(begin_a_wait);
  watched.send();
  on.run();
  CHECK(handled == 2);
  CHECK(note == "ready ready");
}

TEST_CASE_TEMPLATE("a wait fails if its number becomes a file before the kernel is shown it", Loop,
                   ANY_LOOP) {
  Loop on;
  std::optional<socket_pair> pair(std::in_place);
  const int number = pair->near();
  std::error_code got;
  {
    eddy::readiness watched(on.loop, number);
    watched.wait_readable([&](std::error_code error) { got = error; });
    pair->close_near();
    const int path = ::open("/", O_PATH | O_CLOEXEC);
    REQUIRE(path == number);
    on.run();
    CHECK(got == std::errc::bad_file_descriptor);
    ::close(path);
  }
}

TEST_CASE_TEMPLATE("a wait on a closed terminal fails when a file has its number", Loop, ANY_LOOP) {
  Loop on;
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  REQUIRE(terminal >= 0);
  {
    eddy::readiness old(on.loop, terminal);
    std::error_code got;
    old.wait_readable([&](std::error_code error) { got = error; });
    on.loop.run_ready();
    const int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    REQUIRE(::dup3(file, terminal, O_CLOEXEC) == terminal);
    ::close(file);
    eddy::readiness watched(on.loop, terminal);
    bool told = false;
    watched.wait_readable([&](std::error_code error) { told = !error; });
    on.run();
    CHECK(told);
    CHECK(got == std::errc::bad_file_descriptor);
  }
  ::close(terminal);
}

TEST_CASE_TEMPLATE("a reused number of a descriptor without inode belongs to the later wait", Loop,
                   ANY_LOOP) {
  Loop on;
  const int first = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  eddy::readiness old(on.loop, first);
  std::error_code got;
  old.wait_readable([&](std::error_code error) { got = error; });
  on.loop.run_ready();
  ::close(first);
  const int second = ::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
  REQUIRE(second == first);

  bool told = false;
  eddy::readiness fresh(on.loop, second);
  fresh.wait_readable([&](std::error_code error) { told = !error; });
  on.run();
  CHECK(told);
  CHECK(got == std::errc::bad_file_descriptor);
  ::close(second);
}

TEST_CASE_TEMPLATE("two watches of one descriptor work side by side", Loop, ANY_LOOP) {
  Loop on;
  socket_pair pair;
  journal note;
  eddy::readiness reader(on.loop, pair.near());
  std::optional<eddy::readiness> writer(std::in_place, on.loop, pair.near());
  writer->wait_writable([&](std::error_code error) { note(error ? "error" : "writable"); });
  reader.wait_readable([&](std::error_code error) { note(error ? "error" : "readable"); });
  on.loop.run_ready();
  CHECK(note == "writable");

  SUBCASE("and each may be destroyed before the other") {
    writer.reset();
    pair.send();
    on.run();
    CHECK(note == "writable readable");
  }
  SUBCASE("and closing the descriptor under both does not end the program") {
    pair.close_near();
    writer.reset();
    on.run();
    CHECK(note == "writable error");
  }
}

TEST_CASE_TEMPLATE("an epoll set that watches the loop through another set is refused at once",
                   Loop, ANY_LOOP) {
  Loop on;
  on.loop.run_ready();
  const auto watching = [](int descriptor) {
    const int set = ::epoll_create1(EPOLL_CLOEXEC);
    epoll_event wanted{};
    REQUIRE(::epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &wanted) == 0);
    return set;
  };
  const int direct = watching(on.loop.descriptor());
  const int indirect = watching(direct);
  for (const int set : {direct, indirect}) {
    CHECK(code_from([&] { const eddy::readiness r(on.loop, set); }) ==
          std::errc::too_many_symbolic_link_levels);
  }
  ::close(direct);
  ::close(indirect);
}

TEST_CASE_TEMPLATE("a new epoll set fails the waits on closed descriptors", Loop, ANY_LOOP) {
  // A watched descriptor is closed too early, and a copy of it remains. The copy's events name a
  // watch that no longer exists, and only a new epoll set ends these events.
  Loop on;
  socket_pair copied;
  std::optional<socket_pair> closed(std::in_place);
  std::optional<eddy::readiness> gone(std::in_place, on.loop, copied.near());
  eddy::readiness stale(on.loop, closed->near());
  std::error_code got;
  gone->wait_readable([](std::error_code) {});
  stale.wait_readable([&](std::error_code error) { got = error; });
  on.loop.run_ready();

  const int copy = ::fcntl(copied.near(), F_DUPFD_CLOEXEC, 0);
  copied.close_near();
  gone.reset();
  closed.reset();
  copied.send();
  eddy::timer watchdog(on.loop);
  watchdog.start(2s, [&] {
    stale.stop();
    FAIL_CHECK("the closed descriptor was not told");
  });
  watchdog.background(true);
  on.run();
  CHECK(got == std::errc::bad_file_descriptor);
  ::close(copy);
}

TEST_CASE_TEMPLATE("a destroyed watch leaves the epoll set even if the descriptor stays open", Loop,
                   ANY_LOOP) {
  Loop on;
  socket_pair pair;
  {
    eddy::readiness near(on.loop, pair.near());
    near.wait_readable([](std::error_code) { FAIL_CHECK("was called"); });
    on.loop.run_ready();
  }
  pair.send();
  CHECK_FALSE(on.loop.next_run());
  CHECK_FALSE(on.loop.run_ready());

  eddy::readiness again(on.loop, pair.near());
  journal note;
  again.wait_readable([&](std::error_code) { note(pair.receive()); });
  on.run();
  CHECK(note == "x");
}

TEST_CASE_FIXTURE(tidy, "a second wait in one direction aborts") {
  dies_saying("a wait to read is already pending on this readiness", [] {
    eddy::event_loop loop;
    const socket_pair pair;
    eddy::readiness near(loop, pair.near());
    near.wait_readable([](std::error_code) {});
    near.wait_readable([](std::error_code) {});
  });
}

TEST_CASE_FIXTURE(tidy, "destroying a loop before its descriptors aborts") {
  dies_saying("1 descriptors, signals, files or children watched", [] {
    std::optional<eddy::event_loop> loop(std::in_place);
    const socket_pair pair;
    const eddy::readiness near(*loop, pair.near());
    loop.reset();
  });
}

TEST_CASE_FIXTURE(tidy, "many descriptors can be watched, and each wait completes") {
  eddy::event_loop loop;
  std::vector<std::unique_ptr<socket_pair>> pairs;
  std::vector<eddy::readiness> watched;
  int told = 0;
  for (int i = 0; i < 400; ++i) {
    pairs.push_back(std::make_unique<socket_pair>());
    watched.emplace_back(loop, pairs.back()->near());
    watched.back().wait_readable([&](std::error_code) { ++told; });
  }
  for (const auto& pair : pairs) pair->send();
  loop.run();
  CHECK(told == 400);
  watched.clear();
}

TEST_CASE_TEMPLATE("a wait is pending until its handler runs", Loop, ANY_LOOP) {
  Loop on;
  socket_pair a;
  socket_pair b;
  eddy::readiness first(on.loop, a.near());
  eddy::readiness second(on.loop, b.near());
  int calls = 0;
  std::function<void(eddy::readiness&, eddy::readiness&)> wait = [&](eddy::readiness& mine,
                                                                     eddy::readiness& other) {
    mine.wait_readable([&](std::error_code) {
      ++calls;
      CHECK(!mine.waiting(eddy::readiness::direction::read));
      // Both are ready in one turn, and the second has not run yet.
      CHECK(other.waiting(eddy::readiness::direction::read) == (calls == 1));
    });
  };
  wait(first, second);
  wait(second, first);
  a.send();
  b.send();
  on.run();
  CHECK(calls == 2);
}

TEST_CASE_TEMPLATE("a reused number that is closed again does no harm", Loop, ANY_LOOP) {
  // The first wait is left behind. The next descriptor of that number is closed before libev has
  // shown it to the kernel.
  for (const int turns : {0, 1, 2}) {
    INFO(turns);
    Loop on;
    std::optional<socket_pair> old(std::in_place);
    const int number = old->near();
    journal note;
    eddy::readiness first(on.loop, number);
    first.wait_readable([&](std::error_code e) { note(e ? "told" : "wrong"); });
    on.loop.run_ready();
    old.reset();
    {
      const socket_pair fresh;
      REQUIRE((fresh.near() == number || fresh.far() == number));
      eddy::detail::watch second(on.loop, number);
      struct nobody : eddy::ready_node {
        nobody() noexcept : ready_node([](ready_node&) {}) {}
      } node;
      for (int i = 0; i < turns; ++i) on.loop.run_ready();
      second.wait(eddy::readiness::direction::read, node);
      for (int i = 0; i < turns; ++i) on.loop.run_ready();
    }
    on.run();
    CHECK(note == "told");
  }
}

TEST_CASE_FIXTURE(with_loop, "a host sees descriptors that are always ready, again and again") {
  for (const char* const path : {"/dev/null", "/etc/passwd", "/"}) {
    INFO(std::string(path));
    const int file = ::open(path, O_RDONLY | O_CLOEXEC);
    eddy::readiness ready(loop, file);
    int told = 0;
    std::function<void()> wait = [&] {
      ready.wait_readable([&](std::error_code) {
        if (++told < 5) wait();
      });
    };
    wait();
    int turns = 0;
    while (told < 5 && turns < 50) {
      pollfd p{.fd = loop.descriptor(), .events = POLLIN, .revents = 0};
      const bool at_once = loop.next_run() == 0ns;
      CHECK((at_once || ::poll(&p, 1, 0) == 1));
      loop.run_ready();
      ++turns;
    }
    CHECK(told == 5);
    // Nothing spins without a wait.
    for (int more = 0; more < 3; ++more) loop.run_ready();
    CHECK(!loop.next_run());
    ::close(file);
  }
}

TEST_CASE_TEMPLATE("waits that began without memory complete as all others", Loop, ANY_LOOP) {
  struct waiter : eddy::ready_node {
    waiter(eddy::event_loop& loop, int descriptor)
        : ready_node([](ready_node& self) {
            auto& node = static_cast<waiter&>(self);
            node.told = node.watch.error() ? "closed" : "ready";
          }),
          watch(loop, descriptor) {}
    eddy::readiness watch;
    const char* told = "";
  };
  Loop on;
  socket_pair closed;
  socket_pair replaced;
  const socket_pair open;
  waiter first(on.loop, closed.near());
  waiter second(on.loop, replaced.near());
  waiter third(on.loop, open.near());
  {
    const eddy::detail::failing_allocations none(
        0, eddy::detail::failing_allocations::times::for_good);
    for (waiter* const one : {&first, &second, &third}) {
      one->watch.wait(eddy::readiness::direction::read, *one);
    }
  }
  closed.close_near();
  on.loop.run_ready();
  CHECK(first.told == std::string("closed"));

  const int number = replaced.near();
  replaced.close_near();
  CHECK(::dup3(open.near(), number, O_CLOEXEC) == number);
  const eddy::readiness again(on.loop, number);
  on.loop.run_ready();
  CHECK(second.told == std::string("closed"));
  CHECK(third.told == std::string());
  open.send();
  on.run();
  CHECK(third.told == std::string("ready"));
  ::close(number);
}

TEST_CASE_TEMPLATE("a descriptor that the kernel refused once is shown to it again", Loop,
                   ANY_LOOP) {
  Loop on;
  const socket_pair pair;
  eddy::readiness near(on.loop, pair.near());
  eddy::readiness far(on.loop, pair.far());
  std::error_code told;
  const auto note = [&](std::error_code error) { told = error; };
  far.wait_writable(note);
  on.loop.run_ready();  // the kernel knows the loop's own by now
  {
    const epoll_refusal once(1);
    near.wait_readable(note);
    on.loop.run_ready();
    CHECK(told == std::errc::not_enough_memory);
    CHECK(near.error() == told);
  }
  pair.send();
  near.wait_readable(note);
  CHECK(!near.error());
  on.loop.run_ready();
  CHECK(!told);
}

TEST_CASE_TEMPLATE("an eventfd that the kernel refuses is refused in the wait, not before", Loop,
                   ANY_LOOP) {
  Loop on;
  on.loop.run_ready();
  const int event = ::eventfd(1, EFD_CLOEXEC);
  std::optional<eddy::readiness> near;
  std::error_code told;
  const auto note = [&](std::error_code error) { told = error; };
  {
    const epoll_refusal all(std::numeric_limits<int>::max());
    near.emplace(on.loop, event);
    near->wait_readable(note);
    on.loop.run_ready();
    CHECK(told == std::errc::no_space_on_device);
  }
  near->wait_readable(note);
  on.run();
  CHECK(!told);
  near.reset();
  ::close(event);
}

TEST_CASE_TEMPLATE("a refusal by the kernel ends the wait even if nothing else wakes the loop",
                   Loop, own_loop, hosted_loop) {
  for (const int refusals : {1, 2, 3}) {
    CAPTURE(refusals);
    Loop on;
    const std::array<socket_pair, 3> pairs;
    std::vector<std::unique_ptr<eddy::readiness>> waiting;
    eddy::timer late(on.loop);
    late.start(1ms, [] {});
    while (late.active()) on.loop.run_once();  // the kernel knows the loop's own by now
    late.start(10s, [] {});
    const epoll_refusal some(refusals);
    int told = 0;
    for (int i = 0; i < refusals; ++i) {
      auto& near = *waiting.emplace_back(
          std::make_unique<eddy::readiness>(on.loop, pairs[static_cast<std::size_t>(i)].near()));
      near.wait_readable([&](std::error_code error) {
        if (error == std::errc::not_enough_memory) ++told;
      });
    }
    while (told != refusals && late.active()) on.loop.run_once();
    CHECK(told == refusals);
    CHECK(late.active());
  }
}

TEST_CASE_TEMPLATE("a watch may be destroyed before its refusal is reported", Loop, ANY_LOOP) {
  Loop on;
  const socket_pair pair;
  eddy::timer timer(on.loop);
  timer.start(1ms, [] {});
  while (timer.active()) on.loop.run_once();  // the kernel knows the loop's own by now

  SUBCASE("between two turns of a loop that is hosted by another") {
    const epoll_refusal once(1, pair.near());
    auto near = std::make_unique<eddy::readiness>(on.loop, pair.near());
    near->wait_readable([](std::error_code) { FAIL("the handler of what has gone"); });
    static_cast<void>(on.loop.descriptor());
    near.reset();
    on.loop.run_ready();
  }
  SUBCASE("by a library's callback in the turn of the refusal") {
    struct library {
      ev_timer timer;
      std::unique_ptr<eddy::readiness> near;
    } other;
    ev_timer_init(
        &other.timer,
        [](struct ev_loop*, ev_timer* t, int) { reinterpret_cast<library*>(t)->near.reset(); }, 0.,
        0.);
    ev_set_priority(&other.timer, EV_MAXPRI);
    ev_timer_start(on.loop.native(), &other.timer);
    const epoll_refusal once(1, pair.near());
    other.near = std::make_unique<eddy::readiness>(on.loop, pair.near());
    other.near->wait_readable([](std::error_code) { FAIL("the handler of what has gone"); });
    on.run();
    CHECK(other.near == nullptr);
  }

  // libev's count of watchers is right: a watch still keeps the loop running.
  eddy::readiness later(on.loop, pair.near());
  bool told = false;
  later.wait_readable([&](std::error_code) { told = true; });
  timer.start(1ms, [&] { pair.send(); });
  timer.background(true);
  on.run();
  CHECK(told);
}

TEST_CASE_TEMPLATE("a watch without a wait leaves nothing in the epoll set", Loop, ANY_LOOP) {
  Loop on;
  eddy::event_loop other;
  {
    const eddy::readiness unused(on.loop, other.descriptor());
  }
  // The kernel refuses this watch if the first loop's set still has an entry for the second loop.
  CHECK_NOTHROW(eddy::readiness(other, on.loop.descriptor()));
}

TEST_CASE_TEMPLATE("waits that are stopped before the kernel is shown them leave the others intact",
                   Loop, ANY_LOOP) {
  Loop on;
  socket_pair a;
  socket_pair c;
  std::optional<socket_pair> b(std::in_place);
  std::optional<eddy::readiness> first(std::in_place, on.loop, a.near());
  eddy::readiness old(on.loop, b->near());
  std::optional<eddy::readiness> last(std::in_place, on.loop, c.near());
  std::error_code got;
  first->wait_readable([](std::error_code) {});
  old.wait_readable([&](std::error_code error) { got = error; });
  last->wait_readable([](std::error_code) {});
  first.reset();
  last.reset();
  on.loop.run_ready();

  // If the loop had lost this watch, it would not notice that the number is another descriptor's.
  const int number = b->near();
  b->close_near();
  const socket_pair fresh;
  REQUIRE(fresh.near() == number);
  const eddy::readiness watched(on.loop, number);
  on.loop.run_ready();
  CHECK(got == std::errc::bad_file_descriptor);
  old.stop();
}

TEST_CASE_TEMPLATE("the earlier of two watches of a reused number fails", Loop, ANY_LOOP) {
  Loop on;
  std::optional<socket_pair> pair(std::in_place);
  const int number = pair->near();
  eddy::readiness old(on.loop, number);
  journal note;
  const auto told = [&](std::error_code error) { note(error ? "error" : "ready"); };
  old.wait_readable(told);
  on.loop.run_ready();

  // The earlier watch is changed last, so that libev has it before the later watch.
  eddy::readiness later(on.loop, number);
  later.wait_readable(
      [&](std::error_code error) { note(error ? "later: error" : "later: ready"); });
  old.wait_writable(told);
  pair->close_near();
  socket_pair fresh;
  REQUIRE(fresh.near() == number);
  fresh.send();
  on.run();
  CHECK(note.text().contains("error error"));
  CHECK(note.text().contains("later: ready"));
}

TEST_CASE_TEMPLATE("a handler may own the readiness that is assigned to", Loop, ANY_LOOP) {
  Loop on;
  socket_pair pair;
  auto owned = std::make_shared<eddy::readiness>(on.loop, pair.near());
  eddy::readiness& near = *owned;
  near.wait_readable([owned](std::error_code) {});
  near.wait_writable([owned](std::error_code) {});
  const std::weak_ptr<eddy::readiness> alive = owned;
  owned.reset();
  near = eddy::readiness(on.loop, pair.near());
  CHECK(alive.expired());
}

TEST_CASE_FIXTURE(tidy, "a wait that begins while the last is queued aborts") {
  dies_saying("a wait to read is already pending on this readiness", [] {
    eddy::event_loop loop;
    const socket_pair pair;
    pair.send();
    eddy::readiness near(loop, pair.near());
    near.wait_readable([](std::error_code) {});
    eddy::timer timer(loop);  // which comes before the descriptors of its turn
    timer.start(0s, [&] { near.wait_readable([](std::error_code) {}); });
    loop.run();
  });
}

TEST_CASE_TEMPLATE("a wait that is put in the background twice counts once", Loop, ANY_LOOP) {
  Loop on;
  socket_pair pair;
  eddy::readiness near(on.loop, pair.near());
  near.wait_readable([](std::error_code) {});
  for (int i = 0; i < 2; ++i) {
    near.background(true);
    CHECK(on.loop.count().waiting == 0);
  }
  for (int i = 0; i < 2; ++i) {
    near.background(false);
    CHECK(on.loop.count().waiting == 1);
  }
  near.stop();
}

TEST_CASE_TEMPLATE("stopping a watch checks the other watches of its number", Loop, ANY_LOOP) {
  Loop on;
  std::optional<socket_pair> pair(std::in_place);
  const int number = pair->near();
  eddy::readiness writer(on.loop, number);
  eddy::readiness reader(on.loop, number);
  std::error_code got;
  writer.wait_writable([](std::error_code) {});
  reader.wait_readable([&](std::error_code error) { got = error; });
  on.loop.run_ready();
  on.loop.run_ready();  // the descriptor can be written and has no wait, so that watch stops
  pair->close_near();
  const socket_pair fresh;
  REQUIRE(fresh.near() == number);
  fresh.send();
  on.run();
  CHECK(got == std::errc::bad_file_descriptor);
}

TEST_CASE_TEMPLATE(
    "a wait that the kernel's limit refuses ends with an error, and the loop still sleeps", Loop,
    own_loop, hosted_loop, adopted_loop) {
  Loop on;
  socket_pair pair;
  eddy::readiness near(on.loop, pair.near());
  std::error_code got;
  near.wait_readable([&](std::error_code error) { got = error; });
  {
    const epoll_refusal at_limit(2, pair.near());
    on.run();
  }
  CHECK(got == std::errc::no_space_on_device);

  eddy::timer timer(on.loop);
  timer.start(50ms, [] {});
  int turns = 0;
  for (; timer.active(); ++turns) on.loop.run_once();
  CHECK(turns < 10);
}

TEST_CASE_TEMPLATE("a handler that waits again keeps its captures until it returns", Loop,
                   ANY_LOOP) {
  Loop on;
  socket_pair pair;
  eddy::readiness near(on.loop, pair.near());
  auto owned = std::make_shared<int>(0);
  const std::weak_ptr<int> alive = owned;
  bool kept = false;
  near.wait_readable([&, o = std::move(owned)](std::error_code) {
    bool& result = kept;  // what it captured itself may be gone
    const std::weak_ptr<int>& seen = alive;
    near.wait_readable([](std::error_code) {});
    result = !seen.expired();
  });
  pair.send();
  on.loop.run_ready();
  CHECK(kept);
  CHECK(alive.expired());
  near.stop();
}
