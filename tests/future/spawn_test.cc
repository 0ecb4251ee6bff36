// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/spawn.h>.
#include <eddy/future/spawn.h>

#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/block_on.h>
#include <eddy/future/join.h>
#include <eddy/future/promise.h>
#include <eddy/future/sleep.h>
#include <eddy/future/yield.h>

#include "support/async_test.h"
#include "support/counted.h"
#include "support/forked.h"
#include "support/journal.h"

using namespace std::chrono_literals;

// A program may hold a million suspended tasks, so their size is limited.
static_assert(sizeof(eddy::detail::spawned<void>) <= 56);
static_assert(sizeof(eddy::detail::spawned<int>) <= 56);

namespace {

eddy::task<> steps(journal* note, std::string name) {
  (*note)(name + "1");
  co_await eddy::yield();
  (*note)(name + "2");
}

}  // namespace

TEST_CASE_FIXTURE(async_fixture, "spawned tasks start in the loop's next turn, in order") {
  journal note;
  auto a = eddy::spawn(loop, steps(&note, "a"));
  auto b = eddy::spawn(loop, steps(&note, "b"));
  CHECK(note == "");
  loop.run();
  CHECK(note == "a1 b1 a2 b2");
  CHECK(a.ready());
  CHECK(b.ready());
}

ASYNC_TEST("a task spawned by a task runs concurrently with it") {
  journal note;
  auto f = eddy::spawn(steps(&note, "a"));
  note("go");
  co_await std::move(f);
  CHECK(note == "go a1 a2");
}

ASYNC_TEST("spawn moves a function, its captures and its arguments into the task") {
  int alive = 0;
  {
    auto f = eddy::spawn(
        [held = counted(alive)](std::unique_ptr<int> n) -> eddy::task<int> {
          co_await eddy::yield();
          co_return *n;
        },
        std::make_unique<int>(4));
    CHECK(alive == 1);
    const int four = co_await std::move(f);
    CHECK(four == 4);
  }
  CHECK(alive == 0);
}

ASYNC_TEST("a function's reference parameter refers to a copy that the task owns") {
  auto f = eddy::spawn(
      [](const std::string& text) -> eddy::task<std::size_t> {
        co_await eddy::yield();
        co_return text.size();
      },
      std::string(100, 'x'));
  const auto size = co_await std::move(f);
  CHECK(size == 100);
}

ASYNC_TEST("a member function can be spawned") {
  struct server {
    eddy::task<int> serve(int n) {
      co_await eddy::yield();
      co_return n + base;
    }
    int base = 40;
  };
  server s;
  auto f = eddy::spawn(&server::serve, &s, 2);
  const int answer = co_await std::move(f);
  CHECK(answer == 42);
}

ASYNC_TEST("any awaitable can be spawned") {
  auto f = eddy::spawn(eddy::sleep(1s));
  const auto before = clock.now();
  co_await std::move(f);
  CHECK(clock.now() - before == 1s);
}

TEST_CASE_FIXTURE(async_fixture,
                  "a spawned task's arguments are destroyed before its waiter resumes") {
  struct program {
    static eddy::task<> hold(counted) { co_await eddy::yield(); }
    static eddy::task<> wait(int* alive, int* seen) {
      auto f = eddy::spawn(hold(counted(*alive)));
      co_await std::move(f);
      *seen = *alive;
    }
  };
  int alive = 0;
  int seen = -1;
  eddy::block_on(loop, program::wait(&alive, &seen));
  CHECK(seen == 0);
}

TEST_CASE_FIXTURE(async_fixture, "a thousand ready tasks run first come, first served") {
  struct program {
    static eddy::task<> take_turns(std::vector<int>* order, int name) {
      for (int i = 0; i < 3; ++i) {
        order->push_back(name);
        co_await eddy::yield();
      }
    }
  };
  std::vector<int> order;
  std::vector<eddy::future<>> all;
  for (int i = 0; i < 1000; ++i) all.push_back(eddy::spawn(loop, program::take_turns(&order, i)));
  loop.run();
  REQUIRE(order.size() == 3000);
  for (std::size_t i = 0; i < order.size(); ++i) REQUIRE(order[i] == static_cast<int>(i % 1000));
  all.clear();
}

TEST_CASE_FIXTURE(async_fixture,
                  "a long chain of spawned tasks completes and is cancelled innermost first") {
  struct order {
    int ended = 0;
    bool right = true;
  };
  struct end {
    end(int d, order* o) noexcept : depth(d), of(o) {}
    ~end() { of->right = of->ended++ == depth && of->right; }
    int depth;
    order* of;
  };
  struct program {
    static eddy::task<int> deep(int depth, order* of) {
      const end local(depth, of);
      if (depth == 0) {
        co_await eddy::sleep(1h);
        co_return 0;
      }
      auto below = eddy::spawn(deep(depth - 1, of));
      const int n = co_await std::move(below);
      co_return n + 1;
    }
  };
  constexpr int many = 100'000;
  order ends;
  auto f = eddy::spawn(loop, program::deep(many, &ends));
  SUBCASE("completes") { CHECK(eddy::block_on(loop, std::move(f)) == many); }
  SUBCASE("is cancelled") {
    while (loop.run_ready()) {
    }
    CHECK(loop.dump().contains("tasks deeper"));
    f = {};
  }
  CHECK(ends.ended == many + 1);
  CHECK(ends.right);
  CHECK(eddy::frame_count() == 0);
}

TEST_CASE_FIXTURE(async_fixture,
                  "an error that moving the value throws is the spawned task's error") {
  struct moves_badly {
    explicit moves_badly(int n) noexcept : moves_left(n) {}
    moves_badly(moves_badly&& other) : moves_left(other.moves_left - 1) {
      if (moves_left < 0) throw moves_left;
    }
    int moves_left;
  };
  struct program {
    static eddy::task<moves_badly> work() { co_return 0; }
  };
  auto alone = eddy::spawn(loop, program::work());
  auto joined = eddy::spawn(loop, eddy::join(program::work(), program::work()));
  loop.run();
  CHECK_THROWS_AS(std::rethrow_exception(std::move(alone).take().error()), int);
  CHECK_THROWS_AS(std::rethrow_exception(std::move(joined).take().error()), int);
}

TEST_CASE_FIXTURE(async_fixture,
                  "a task's arguments may destroy the task's waiters when they are destroyed") {
  struct drops {
    void operator()(eddy::future<>* f) const { *f = {}; }
  };
  using dropper = std::unique_ptr<eddy::future<>, drops>;
  struct program {
    static eddy::task<> work(dropper) { co_await eddy::yield(); }
    static eddy::task<> wait(eddy::future<> f, bool* went_on) {
      co_await std::move(f);
      *went_on = true;
    }
    static eddy::task<> join(eddy::future<>* self, bool* went_on) {
      co_await eddy::join(work(dropper(self)), eddy::sleep(1s));
      *went_on = true;
    }
  };
  bool went_on = false;
  eddy::future<> waiter;

  SUBCASE("a waiter of its future") {
    waiter = eddy::spawn(
        loop, program::wait(eddy::spawn(loop, program::work(dropper(&waiter))), &went_on));
  }
  SUBCASE("a join") { waiter = eddy::spawn(loop, program::join(&waiter, &went_on)); }

  loop.run();
  CHECK(!waiter);
  CHECK(!went_on);
}

TEST_CASE("spawn outside a running loop, without naming a loop, aborts") {
  dies_saying("spawn was called while no loop runs on this thread: name the loop",
              [] { static_cast<void>(eddy::spawn(eddy::yield())); });
}
