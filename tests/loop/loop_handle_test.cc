// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/loop_handle.h>.
#include <eddy/loop/loop_handle.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/resource.h>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer.h>
#include <eddy/loop/work_guard.h>

#include "support/any_loop.h"
#include "support/counted.h"
#include "support/forked.h"
#include "support/journal.h"
#include "support/tidy.h"

using namespace std::chrono_literals;

namespace {

bool readable(int descriptor) {
  struct pollfd p{.fd = descriptor, .events = POLLIN, .revents = 0};
  return ::poll(&p, 1, 0) == 1;
}

}  // namespace

TEST_CASE_TEMPLATE("posted functions run later, in order, on the loop", Loop, ANY_LOOP) {
  Loop on;
  journal note;
  CHECK(on.loop.handle().post([&] { note("one"); }));
  on.loop.post([&] {
    note("two");
    CHECK(eddy::event_loop::current() == &on.loop);
    on.loop.post([&] { note("three"); });
  });
  CHECK(note == "");

  on.run();
  CHECK(note == "one two three");
}

TEST_SUITE("threads") {
  TEST_CASE_TEMPLATE("posts of many threads arrive, in order for each thread", Loop, ANY_LOOP) {
    constexpr std::size_t threads = 4;
    constexpr int each = 5000;
    Loop on;
    std::array<int, threads> next{};
    std::size_t ended = 0;
    bool in_order = true;
    std::optional<eddy::work_guard> kept(on.loop);
    std::vector<std::thread> producers;
    for (std::size_t t = 0; t < threads; ++t) {
      producers.emplace_back([&, t, remote = on.loop.handle()] {
        for (int i = 0; i < each; ++i) {
          remote.post([&, t, i] {
            in_order = in_order && next[t] == i;
            next[t] = i + 1;
            if (i + 1 == each && ++ended == threads) kept.reset();
          });
          if (i % 64 == 0) std::this_thread::yield();  // so that the loop falls asleep at times
        }
      });
    }
    on.run();
    CHECK(in_order);
    CHECK(next == std::array<int, threads>{each, each, each, each});
    for (auto& producer : producers) producer.join();
  }

  TEST_CASE_TEMPLATE("no wake-up is lost between two loops that post to each other", Loop, own_loop,
                     program_run_loop) {
    constexpr int rounds = 3000;
    Loop here;
    std::optional<eddy::work_guard> kept_here(here.loop);
    std::thread player([&, here_remote = here.loop.handle()] {
      Loop there;
      std::optional<eddy::work_guard> kept(there.loop);
      struct game {
        Loop& there;
        std::optional<eddy::work_guard>& kept;
        std::optional<eddy::work_guard>& kept_here;
        const eddy::loop_handle& here;
        const eddy::loop_handle remote;
        int left = rounds;
        void serve() {
          here.post([this] {
            if (--left == 0) kept_here.reset();
            remote.post([this] {
              if (left == 0) {
                kept.reset();
              } else {
                serve();
              }
            });
          });
        }
      } g{there, kept, kept_here, here_remote, there.loop.handle()};
      g.serve();
      there.run();
      CHECK(g.left == 0);
    });
    here.run();
    player.join();
  }

  TEST_CASE_FIXTURE(with_loop, "a function that an ending thread posts arrives") {
    journal note;
    struct farewell {
      std::optional<eddy::loop_handle> remote;
      journal* note = nullptr;
      ~farewell() {
        for (int i = 3; i < 6; ++i) remote->post([i, n = note] { (*n)(i); });
      }
    };
    const eddy::work_guard kept(loop);
    std::thread([&] {
      thread_local farewell mine;  // goes last, since it was here before the first post
      mine.remote = loop.handle();
      mine.note = &note;
      for (int i = 0; i < 3; ++i) loop.post([&note, i] { note(i); });
    }).join();
    loop.run_ready();
    CHECK(note == "0 1 2 3 4 5");
  }

  TEST_CASE_FIXTURE(tidy, "one thread may post to several loops, each in order") {
    with_loop one;
    with_loop other;
    journal first;
    journal second;
    std::thread([&] {
      for (int i = 0; i < 50; ++i) {
        one.loop.post([&, i] { first(i); });
        if (i % 3 != 0) other.loop.post([&, i] { second(i); });
      }
    }).join();
    one.loop.run();
    other.loop.run();
    journal expected_first;
    journal expected_second;
    for (int i = 0; i < 50; ++i) {
      expected_first(i);
      if (i % 3 != 0) expected_second(i);
    }
    CHECK(first.text() == expected_first.text());
    CHECK(second.text() == expected_second.text());
  }

  TEST_CASE_FIXTURE(tidy, "a loop_handle may outlive its loop, and reports that the loop is gone") {
    int alive = 0;
    auto loop = std::make_unique<eddy::event_loop>();
    std::atomic<bool> refused{false};
    std::thread other([remote = loop->handle(), &refused] {
      while (remote.post([] {})) {
      }
      refused = true;
    });
    loop->post([c = counted(alive)] {});
    while (alive != 0) loop->run_ready();  // behind what the other thread has posted
    loop->post([c = counted(alive)] { FAIL("dropped"); });
    CHECK(alive == 1);
    loop.reset();
    CHECK(alive == 0);
    other.join();
    CHECK(refused);
  }
}

TEST_CASE_FIXTURE(with_still_loop,
                  "posted functions that throw, stop the loop or post do not disturb the others") {
  journal note;
  int alive = 0;
  for (int i = 0; i < 40; ++i) {
    loop.post([&, i, c = counted(alive)] {
      note(i);
      if (i == 3) throw 1;
      if (i == 7) loop.stop();
      if (i == 9) loop.defer([&] { note("deferred"); });
      if (i == 11) loop.post([&] { note("posted"); });
    });
  }
  CHECK(alive == 40);
  CHECK_THROWS(loop.run());
  CHECK(alive == 36);
  loop.run();
  CHECK(alive == 32);
  CHECK(note == "0 1 2 3 4 5 6 7");
  loop.run();
  CHECK(alive == 0);
  journal expected;
  for (int i = 0; i < 40; ++i) expected(i);
  expected("deferred");
  expected("posted");
  CHECK(note.text() == expected.text());
}

TEST_CASE_FIXTURE(tidy, "posted functions that did not run are destroyed with the loop") {
  int alive = 0;
  {
    eddy::event_loop loop;
    for (int i = 0; i < 40; ++i) {
      loop.post([&, i, c = counted(alive)] {
        if (i == 20) loop.stop();
      });
    }
    loop.run();
    for (int i = 0; i < 40; ++i) loop.post([c = counted(alive)] {});
    CHECK(alive == 59);
  }
  CHECK(alive == 0);
}

TEST_CASE_FIXTURE(with_loop, "a sleeping loop is woken once for several posts") {
  // The loop's descriptor is readable from the first post until the loop runs.
  loop.run();
  CHECK_FALSE(readable(loop.descriptor()));
  int ran = 0;
  loop.post([&] { ++ran; });
  CHECK(readable(loop.descriptor()));
  loop.post([&] { ++ran; });
  CHECK(loop.next_run() == 0s);

  CHECK(loop.run_ready());
  CHECK(ran == 2);
  CHECK_FALSE(readable(loop.descriptor()));
  CHECK_FALSE(loop.next_run());
}

TEST_CASE_FIXTURE(with_loop, "a running loop is not woken") {
  journal note;
  const int descriptor = loop.descriptor();
  loop.defer([&] {
    loop.post([&] { note("posted"); });
    CHECK_FALSE(readable(descriptor));
  });
  loop.run();
  CHECK(note == "posted");
  CHECK_FALSE(readable(descriptor));
}

TEST_CASE_FIXTURE(with_loop, "a loop is woken after an exception has left it") {
  loop.defer([] { throw 1; });
  SUBCASE("of run_ready") { CHECK_THROWS(loop.run_ready()); }
  SUBCASE("of run") { CHECK_THROWS(loop.run()); }
  SUBCASE("of run_once") { CHECK_THROWS(loop.run_once()); }
  CHECK_FALSE(loop.next_run());
  bool ran = false;
  loop.post([&] { ran = true; });
  CHECK(readable(loop.descriptor()));
  loop.run_ready();
  CHECK(ran);
}

TEST_CASE_FIXTURE(tidy, "posting works when no descriptor is free") {
  CHECK(holds_in_child([] {
    eddy::event_loop loop;
    struct rlimit few{};
    ::getrlimit(RLIMIT_NOFILE, &few);
    few.rlim_cur = 0;
    ::setrlimit(RLIMIT_NOFILE, &few);
    int ran = 0;
    loop.post([&] { ++ran; });
    loop.run();
    loop.post([&] { ++ran; });
    loop.run();
    return ran == 2;
  }));
}

TEST_CASE_TEMPLATE("a reserved post runs in order with other posts", Loop, ANY_LOOP) {
  Loop on;
  journal note;
  eddy::reserved_post reserved(on.loop.handle(), [&] { note("reserved"); });
  on.loop.post([&] { note("one"); });
  CHECK(reserved.post());
  on.loop.post([&] { note("two"); });
  CHECK_FALSE(reserved.post());  // once
  on.run();
  CHECK(note == "one reserved two");
}

TEST_CASE_FIXTURE(tidy, "a reserved post destroys its function unless a loop runs it") {
  int alive = 0;
  std::optional<eddy::event_loop> loop(std::in_place);
  {
    const eddy::reserved_post unused(loop->handle(), [c = counted(alive)] {});
    CHECK(alive == 1);
  }
  CHECK(alive == 0);

  eddy::reserved_post waits(loop->handle(), [c = counted(alive)] {});
  eddy::reserved_post late(loop->handle(), [c = counted(alive)] {});
  CHECK(waits.post());
  loop.reset();
  CHECK(alive == 1);
  CHECK_FALSE(late.post());
  CHECK(alive == 0);
}

// The backlog is counted in chunks of this number of functions.
constexpr std::size_t chunk = 16;

TEST_CASE_FIXTURE(with_loop, "the backlog is the number of posted functions that have not run") {
  const eddy::loop_handle to = loop.handle();
  CHECK(to.backlog() == 0);
  std::size_t seen = 0;
  for (int i = 0; i < 100; ++i) to.post([&] { ++seen; });
  CHECK(to.backlog() >= 100);
  CHECK(to.backlog() < 100 + chunk);
  while (loop.run_ready()) {
  }
  CHECK(seen == 100);
  CHECK(to.backlog() == 0);
}

TEST_CASE_FIXTURE(tidy, "a destroyed function may post in its destructor, and nothing leaks") {
  struct posts_again {
    posts_again(eddy::loop_handle r, int t) : to(std::move(r)), times(t) {}
    posts_again(posts_again&& other) noexcept
        : to(std::move(other.to)), times(std::exchange(other.times, 0)) {}
    ~posts_again() {
      if (times != 0) to.post([again = posts_again(to, times - 1)] { FAIL("it ran"); });
    }
    eddy::loop_handle to;
    int times;
  };
  eddy::loop_handle to = [] {
    const eddy::event_loop loop;
    const eddy::loop_handle way_in = loop.handle();
    way_in.post([dying = posts_again(way_in, 20)] { FAIL("it ran"); });
    return way_in;
  }();
  CHECK(to.backlog() == 0);
  {
    const posts_again late(to, 20);
  }
  CHECK(to.backlog() == 0);
}

TEST_SUITE("threads") {
  TEST_CASE_FIXTURE(with_loop,
                    "a thread that posts faster than the loop runs can pause by the backlog") {
    constexpr std::size_t most = 100;
    std::size_t worst = 0;
    std::size_t seen = 0;
    std::optional<eddy::work_guard> kept(loop);
    std::thread poster([&, to = loop.handle()] {
      for (int i = 0; i < 20'000; ++i) {
        while (to.backlog() >= most) std::this_thread::yield();
        to.post([&] {
          ++seen;
          worst = std::max(worst, loop.handle().backlog());
        });
      }
      to.post([&] { kept.reset(); });
    });
    loop.run();
    poster.join();
    CHECK(seen == 20'000);
    CHECK(worst <= most + 2 * chunk);
  }
}

TEST_CASE_FIXTURE(tidy, "using a moved-from loop_handle aborts") {
  dies_saying("a loop_handle was used that was moved from", [] {
    eddy::event_loop loop;
    eddy::loop_handle first = loop.handle();
    const eddy::loop_handle second = std::move(first);
    first.post([] {});
  });
}

TEST_CASE_FIXTURE(
    tidy,
    "a loop_handle knows whether its loop exists, and check_thread aborts on another thread") {
  std::optional<eddy::loop_handle> other;
  {
    eddy::event_loop loop;
    other = loop.handle();
    CHECK(other->check_thread());
    std::thread([&] { CHECK(other->check_thread()); }).join();  // nobody runs the loop
  }
  CHECK_FALSE(other->check_thread());
  dies_saying("used from another thread", [] {
    eddy::event_loop loop;
    loop.defer([to = loop.handle()] { std::thread([&] { to.check_thread(); }).join(); });
    loop.run();
  });
}
