// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/run_blocking.h>.
#include <eddy/future/run_blocking.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/block_on.h>
#include <eddy/future/join.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/future/yield.h>

#include "support/async_test.h"
#include "support/brittle.h"
#include "support/counted.h"

using namespace std::chrono_literals;

TEST_SUITE("threads") {
  ASYNC_TEST("run_blocking runs a function on another thread and gives its value") {
    const auto id = [] { return std::this_thread::get_id(); };
    const auto there = co_await eddy::run_blocking(id);
    CHECK(there != std::this_thread::get_id());

    const auto join_words = [](std::string a, const std::string& b) { return a + b; };
    const std::string text =
        co_await eddy::run_blocking(join_words, std::string("hello, "), std::string("world"));
    CHECK(text == "hello, world");

    std::atomic<int> n{0};
    const auto add = [&n] { ++n; };
    co_await eddy::run_blocking(add);
    CHECK(n == 1);

    int place = 0;
    const auto where = [&place]() -> int& { return place; };
    int& same = co_await eddy::run_blocking(where);
    CHECK(&same == &place);
  }

  ASYNC_TEST("run_blocking gives an error that moving the value throws") {
    int broken = 0;
    for (int strength = 0; strength < 8; ++strength) {
      const auto make = [strength] { return brittle(strength); };
      try {
        static_cast<void>(co_await eddy::run_blocking(make));
      } catch (const std::runtime_error& e) {
        CHECK(std::string(e.what()) == "broke");
        ++broken;
      }
    }
    CHECK(broken >= 2);
    CHECK(broken < 8);
  }

  ASYNC_TEST("arguments and values of run_blocking may be move-only") {
    auto box = std::make_unique<int>(20);
    auto twice = [box = std::move(box)](std::unique_ptr<int> n) mutable {
      *n += *box;
      return n;
    };
    auto two = std::make_unique<int>(2);
    auto job = eddy::run_blocking(std::move(twice), std::move(two));
    const std::unique_ptr<int> sum = co_await std::move(job);
    CHECK(*sum == 22);
  }

  ASYNC_TEST("run_blocking throws the function's error") {
    const auto fails = []() -> int { throw std::runtime_error("no luck"); };
    std::string what;
    try {
      co_await eddy::run_blocking(fails);
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    CHECK(what == "no luck");
  }

  ASYNC_TEST("the loop keeps running during run_blocking, and several functions run at once") {
    auto meeting = std::make_shared<std::counting_semaphore<2>>(0);
    const auto first = [meeting] {
      meeting->acquire();
      return 1;
    };
    const auto second = [meeting] {
      meeting->release();
      return 2;
    };
    auto a = eddy::run_blocking(first);
    auto b = eddy::run_blocking(second);
    auto [one, two] = co_await eddy::join(std::move(a), std::move(b));
    CHECK(one == 1);
    CHECK(two == 2);
  }

  TEST_CASE_FIXTURE(
      async_fixture,
      "a function whose waiter is destroyed runs to its end; its result is discarded") {
    struct shared {
      std::binary_semaphore begun{0};
      std::binary_semaphore go{0};
      std::binary_semaphore ended{0};
    };
    auto with = std::make_shared<shared>();
    auto job = [with] {
      with->begun.release();
      with->go.acquire();
      with->ended.release();
      return 1;
    };
    bool resumed = false;
    auto f = eddy::spawn(loop, [job, &resumed]() -> eddy::task<> {
      const int n = co_await eddy::run_blocking(job);
      resumed = n == 1;
    });
    loop.run_ready();
    with->begun.acquire();

    SUBCASE("destroyed while the function runs") {
      f = {};
      loop.run();
      with->go.release();
      with->ended.acquire();
    }
    SUBCASE("destroyed after the function returns, before the loop knows") {
      with->go.release();
      with->ended.acquire();
      f = {};
    }
    loop.run();
    CHECK_FALSE(resumed);
  }

  TEST_CASE_FIXTURE(async_fixture,
                    "a dump shows a task that awaits run_blocking as \"a blocking job\"") {
    struct program {
      static eddy::task<> wait(std::shared_ptr<std::binary_semaphore> go) {
        const auto job = [go] { go->acquire(); };
        co_await eddy::run_blocking(job);
      }
    };
    auto go = std::make_shared<std::binary_semaphore>(0);
    auto f = eddy::spawn(loop, program::wait(go));
    loop.run_ready();
    const std::string tree = loop.dump();
    CHECK(tree.contains("wait at run_blocking_test.cc:"));
    CHECK(tree.contains("a blocking job\n"));
    go->release();
    eddy::block_on(loop, std::move(f));
  }
}
