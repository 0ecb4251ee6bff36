// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/sleep.h>.
#include <eddy/future/sleep.h>

#include <chrono>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/block_on.h>
#include <eddy/future/select.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/future/yield.h>

#include "support/async_test.h"
#include "support/forked.h"
#include "support/journal.h"

using namespace std::chrono_literals;

namespace {

eddy::task<> wake(eddy::duration delay, int n, journal* note) {
  co_await eddy::sleep(delay);
  (*note)(n);
}

}  // namespace

ASYNC_TEST("a sleep lasts exactly its duration on a held clock") {
  const auto before = clock.now();
  co_await eddy::sleep(1500ms);
  CHECK(clock.now() - before == 1500ms);
  co_await eddy::sleep_until(before + 1min);
  CHECK(clock.now() - before == 1min);
}

ASYNC_TEST("a sleep's duration starts at the call of sleep, not at the co_await") {
  const auto before = clock.now();
  auto rest = eddy::sleep(10s);
  co_await eddy::sleep(4s);
  co_await std::move(rest);
  CHECK(clock.now() - before == 10s);
}

ASYNC_TEST("a sleep of zero or until a past time completes at once") {
  const auto before = clock.now();
  bool other_ran = false;
  loop.defer([&] { other_ran = true; });
  co_await eddy::sleep(0s);
  co_await eddy::sleep(-1s);
  co_await eddy::sleep_until(before - 1s);
  CHECK_FALSE(other_ran);
  CHECK(clock.now() == before);
  for (int i = 0; i < eddy::event_loop::share; ++i) co_await eddy::sleep(0s);
  CHECK(other_ran);  // after a number of such sleeps, other work runs
}

TEST_CASE_FIXTURE(async_fixture, "sleeps with one deadline complete in the order they started") {
  journal note;
  std::vector<eddy::future<>> all;
  for (int i = 0; i < 6; ++i) all.push_back(eddy::spawn(loop, wake(1s, i, &note)));
  loop.run();
  CHECK(note == "0 1 2 3 4 5");
  all.clear();
}

TEST_CASE_FIXTURE(async_fixture, "a sleeper destroyed at its deadline does not resume") {
  journal note;
  auto first = eddy::spawn(loop, wake(1s, 1, &note));
  auto second = eddy::spawn(loop, wake(1s, 2, &note));
  struct program {
    static eddy::task<> kill(eddy::future<>* victim) {
      co_await eddy::sleep(1s);
      *victim = {};
    }
  };
  auto killer = eddy::spawn(loop, program::kill(&second));
  auto third = eddy::spawn(loop, wake(1s, 3, &note));

  SUBCASE("destroyed by a task with the same deadline") {
    second = {};
    second = eddy::spawn(loop, wake(1s, 2, &note));
    loop.run();
    CHECK(note == "1 3");
  }
  SUBCASE("destroyed before the deadline") {
    loop.run_ready();
    second = {};
    loop.run();
    CHECK(note == "1 3");
  }
}

TEST_CASE("a sleep on the real clock never completes early") {
  const auto before = std::chrono::steady_clock::now();
  auto nap = [](eddy::duration d, eddy::resolution r) -> eddy::task<> {
    co_await eddy::sleep(d, r);
  };
  eddy::block_on(nap(2ms, eddy::resolution::millisecond));
  CHECK(std::chrono::steady_clock::now() - before >= 2ms);
  eddy::block_on(nap(100us, eddy::resolution::fine));
  CHECK(std::chrono::steady_clock::now() - before >= 2100us);
}

TEST_CASE("sleep outside a running loop aborts") {
  dies_saying("sleep was called while no loop runs on this thread",
              [] { static_cast<void>(eddy::sleep(1s)); });
}

TEST_CASE("a sleep until a past time wins a select though the loop's time is older") {
  // The loop reads the clock once per turn, and `now` is later than that reading.
  struct program {
    static eddy::task<int> at_once() { co_return 1; }
    static eddy::task<> run() {
      for (int i = 0; i < 20; ++i) {
        const auto now = std::chrono::steady_clock::now();
        const auto a = co_await eddy::select(eddy::sleep_until(now), at_once());
        CHECK(a.index() == 0);
        const auto b = co_await eddy::select(eddy::sleep(-1s), at_once());
        CHECK(b.index() == 0);
        const auto c = co_await eddy::select(eddy::sleep(0s, eddy::resolution::fine), at_once());
        CHECK(c.index() == 0);
        co_await eddy::yield();
      }
    }
  };
  eddy::block_on(program::run());
}
