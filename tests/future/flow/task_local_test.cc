// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/flow/task_local.h>.
#include <eddy/future/flow/task_local.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/future/block_on.h>
#include <eddy/future/join.h>
#include <eddy/future/scope.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/timeout.h>
#include <eddy/future/yield.h>

#include "support/async_test.h"
#include "support/counted.h"

using namespace std::chrono_literals;

namespace {

const eddy::task_local<int> number;
const eddy::task_local<std::string> name;
const eddy::task_local<std::unique_ptr<counted>> thing;

int number_here() { return number.get() == nullptr ? 0 : *number.get(); }

eddy::task<> sees(int expected) {
  CHECK(number_here() == expected);
  co_await eddy::yield();
  CHECK(number_here() == expected);
}

eddy::task<> calls_sees(int expected) { co_await sees(expected); }

eddy::task<int> gives() {
  co_await eddy::yield();
  co_return number_here();
}

eddy::task<> fails() {
  co_await eddy::yield();
  throw std::runtime_error("no luck");
}

}  // namespace

ASYNC_TEST("only the work and everything it awaits reads the value") {
  co_await sees(0);
  co_await number.with(7, calls_sees(7));
  co_await sees(0);
  const int n = co_await number.with(8, gives());
  CHECK(n == 8);
  static_cast<void>(loop);
}

ASYNC_TEST("a nested with hides the outer value until its work has completed") {
  struct program {
    static eddy::task<> nested() {
      co_await sees(1);
      co_await number.with(2, calls_sees(2));
      co_await sees(1);
    }
  };
  co_await number.with(1, program::nested());
  static_cast<void>(loop);
}

ASYNC_TEST("values of different keys do not hide each other") {
  struct program {
    static eddy::task<> both() {
      CHECK(number_here() == 3);
      CHECK(*name.get() == "GET /");
      co_return;
    }
  };
  co_await number.with(3, name.with("GET /", program::both()));
  CHECK(name.get() == nullptr);
  static_cast<void>(loop);
}

ASYNC_TEST("the branches of a join and the work of a timeout read the value") {
  co_await number.with(4, eddy::join(calls_sees(4), number.with(5, calls_sees(5)), sees(4)));
  co_await number.with(4, eddy::timeout(1s, calls_sees(4)));
  static_cast<void>(loop);
}

ASYNC_TEST("a spawned task inherits the values of its spawner") {
  struct program {
    static eddy::task<eddy::future<>> begin() { co_return eddy::spawn(calls_sees(6)); }
    static eddy::task<> in_scope() {
      eddy::scope all(1);
      all.spawn(calls_sees(6));
      all.spawn(number.with(9, calls_sees(9)));
      all.spawn(calls_sees(6));
      co_await all.join();
    }
  };
  auto later = co_await number.with(6, program::begin());
  co_await number.with(7, std::move(later));
  co_await number.with(6, program::in_scope());
  auto none = eddy::spawn(calls_sees(0));
  co_await number.with(7, std::move(none));
  static_cast<void>(loop);
}

ASYNC_TEST("a value is destroyed with the last task that can read it") {
  int alive = 0;
  struct program {
    static eddy::task<eddy::future<>> begin() { co_return eddy::spawn(eddy::sleep(1h)); }
  };
  auto later = co_await thing.with(std::make_unique<counted>(alive), program::begin());
  CHECK(alive == 1);
  later = {};
  CHECK(alive == 0);

  auto dropped = eddy::spawn(thing.with(std::make_unique<counted>(alive), eddy::sleep(1h)));
  co_await eddy::yield();
  CHECK(alive == 1);
  CHECK(loop.dump().contains("a task with a task_local value"));
  dropped = {};
  CHECK(alive == 0);
}

ASYNC_TEST("with throws the error of its work and unsets the value") {
  bool thrown = false;
  try {
    co_await number.with(5, fails());
  } catch (const std::runtime_error&) {
    thrown = true;
  }
  CHECK(thrown);
  CHECK(number_here() == 0);
  static_cast<void>(loop);
}

ASYNC_TEST("a function called by the coroutine reads the value, a handler does not") {
  int seen = -1;
  struct program {
    static eddy::task<> defers(eddy::event_loop* on, int* into) {
      CHECK(number_here() == 5);
      on->defer([into] { *into = number_here(); });
      co_await eddy::yield();
      co_await eddy::yield();
    }
  };
  co_await number.with(5, program::defers(&loop, &seen));
  CHECK(seen == 0);
}

TEST_CASE_FIXTURE(tidy, "outside coroutines there is no value") { CHECK(number.get() == nullptr); }

ASYNC_TEST("get searches only up to the nearest with") {
  // 20,000 nested `with`s would take minutes if each `get` searched to the outermost one.
  static const eddy::task_local<int> depth;
  struct program {
    static eddy::task<> go_down(int left) {
      if (left == 0) co_return;
      const int here = left;
      auto deeper = depth.with(here, check(here));
      co_await std::move(deeper);
    }
    static eddy::task<> check(int expected) {
      CHECK(*depth.get() == expected);
      co_await go_down(expected - 1);
    }
  };
  co_await program::go_down(20'000);
}
