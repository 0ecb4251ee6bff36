// SPDX-License-Identifier: BSD-2-Clause
// What <eddy/future/timeout.h> promises.
#include <eddy/future/timeout.h>

#include <functional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/future/block_on.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>

#include "support/async_test.h"
#include "support/counted.h"
#include "support/journal.h"

using namespace std::chrono_literals;

namespace {

eddy::task<int> after(eddy::duration delay, int n) {
  if (delay != 0s) co_await eddy::sleep(delay);
  co_return n;
}

struct at_end {
  explicit at_end(std::function<void()> f) : work(std::move(f)) {}
  at_end(at_end&& other) noexcept : work(std::exchange(other.work, nullptr)) {}
  ~at_end() {
    if (work) work();
  }
  std::function<void()> work;
};

eddy::task<> hold(at_end) { co_await eddy::sleep(1h); }

}  // namespace

ASYNC_TEST("work that ends in time gives its value") {
  const int one = co_await eddy::timeout(5s, after(1s, 1));
  CHECK(one == 1);
  const int two = co_await eddy::timeout(5s, after(0s, 2));
  CHECK(two == 2);
  co_await eddy::timeout(5s, eddy::sleep(1s));
  CHECK(loop.count().timers == 0);
}

ASYNC_TEST("work that takes longer is cancelled, and timed_out comes out") {
  const auto before = clock.now();
  int alive = 0;
  auto holds = [](counted) -> eddy::task<> { co_await eddy::sleep(1h); };
  std::error_code error;
  try {
    co_await eddy::timeout(5s, holds(counted(alive)));
  } catch (const std::system_error& e) {
    error = e.code();
    CHECK(alive == 0);
  }
  CHECK(error == std::errc::timed_out);
  CHECK(clock.now() - before == 5s);
}

ASYNC_TEST("what the work throws comes out") {
  auto fails = []() -> eddy::task<int> {
    co_await eddy::sleep(1s);
    throw std::runtime_error("no luck");
  };
  std::string what;
  try {
    co_await eddy::timeout(5s, fails());
  } catch (const std::runtime_error& e) {
    what = e.what();
  }
  CHECK(what == "no luck");
}

TEST_CASE_FIXTURE(async_fixture, "the end of the work may drop who waits for it") {
  journal note;
  eddy::future<> waiter;
  struct program {
    static eddy::task<> wait(eddy::future<>* self, journal* to) {
      co_await eddy::timeout(5s, hold(at_end([=] {
                               (*to)("dropped");
                               *self = {};
                             })));
      (*to)("never");
    }
  };
  waiter = eddy::spawn(loop, program::wait(&waiter, &note));
  loop.run();
  CHECK(note == "dropped");
}

TEST_CASE_FIXTURE(async_fixture, "a time limit may be looked at at any time") {
  struct program {
    static eddy::task<> wait(eddy::event_loop* on) {
      try {
        co_await eddy::timeout(
            5s, hold(at_end([=] { CHECK(on->dump().contains("wait at timeout")); })));
      } catch (const std::system_error&) {
      }
      CHECK(on->dump().contains("running"));
    }
  };
  eddy::block_on(loop, program::wait(&loop));
}
