// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/flow/race_ok.h>.
#include <eddy/future/flow/race_ok.h>

#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>

#include "support/async_test.h"
#include "support/counted.h"
#include "support/error_words.h"

using namespace std::chrono_literals;

namespace {

eddy::task<int> after(eddy::duration delay, int n) {
  if (delay != 0s) co_await eddy::sleep(delay);
  co_return n;
}

eddy::task<int> fails(eddy::duration delay, std::string what) {
  if (delay != 0s) co_await eddy::sleep(delay);
  throw std::runtime_error(what);
}

eddy::task<int> throws_a_number() {
  co_await eddy::sleep(1s);
  throw 1;
}

eddy::task<int> hold(counted, eddy::duration delay) {
  co_await eddy::sleep(delay);
  co_return 0;
}

}  // namespace

ASYNC_TEST("race_ok gives the first success after it destroyed the other awaitables") {
  int alive = 0;
  const auto before = clock.now();
  auto slow = hold(counted(alive), 1h);
  const int first = co_await eddy::race_ok(fails(1s, "no"), std::move(slow), after(2s, 3));
  CHECK(first == 3);
  CHECK(clock.now() - before == 2s);
  CHECK(alive == 0);
  CHECK(loop.count().timers == 0);
}

ASYNC_TEST("race_ok starts awaitables in order until one succeeds") {
  int alive = 0;
  auto never = hold(counted(alive), 1h);
  const int first = co_await eddy::race_ok(fails(0s, "no"), after(0s, 2), std::move(never));
  CHECK(first == 2);
  CHECK(alive == 0);
  CHECK(loop.count().timers == 0);
}

ASYNC_TEST("if all awaitables fail, all_failed has every error in order") {
  std::optional<eddy::all_failed> failed;
  SUBCASE("of arguments") {
    try {
      co_await eddy::race_ok(fails(2s, "late"), fails(0s, "at once"), throws_a_number());
    } catch (const eddy::all_failed& e) {
      failed = e;
    }
  }
  SUBCASE("of a range") {
    std::vector<eddy::task<int>> tasks;
    tasks.push_back(fails(2s, "late"));
    tasks.push_back(fails(0s, "at once"));
    tasks.push_back(throws_a_number());
    try {
      co_await eddy::race_ok(std::move(tasks));
    } catch (const eddy::all_failed& e) {
      failed = e;
    }
  }
  REQUIRE(failed);
  REQUIRE(failed->errors().size() == 3);
  CHECK(words_of(failed->errors()[0]) == "late");
  CHECK(words_of(failed->errors()[1]) == "at once");
  CHECK_THROWS_AS(std::rethrow_exception(failed->errors()[2]), int);
  CHECK(failed->what() == std::string("none has succeeded: late; at once; not a std::exception"));
}

ASYNC_TEST("race_ok takes a range") {
  std::vector<eddy::task<int>> tasks;
  for (int i = 0; i < 100; ++i) tasks.push_back(i == 42 ? after(1s, i) : fails(1ms * i, "no"));
  const int first = co_await eddy::race_ok(std::move(tasks));
  CHECK(first == 42);

  bool failed = false;
  try {
    co_await eddy::race_ok(std::vector<eddy::task<>>());
  } catch (const eddy::all_failed& e) {
    failed = e.errors().empty();
  }
  CHECK(failed);
}

ASYNC_TEST("race_ok of void gives void") {
  static_assert(std::is_void_v<
                eddy::await_result_t<decltype(eddy::race_ok(eddy::sleep(1s), eddy::sleep(2s)))>>);
  co_await eddy::race_ok(eddy::sleep(2s), eddy::sleep(1s));
}

TEST_CASE_FIXTURE(async_fixture, "cancelling race_ok cancels all awaitables") {
  int alive = 0;
  auto f = eddy::spawn(loop, eddy::race_ok(hold(counted(alive), 1h), fails(0s, "is dropped"),
                                           hold(counted(alive), 2h)));
  loop.run_ready();
  CHECK(alive == 2);
  CHECK(loop.dump().contains("any of\n"));
  f = {};
  CHECK(alive == 0);
  CHECK(loop.count().timers == 0);
}

ASYNC_TEST("race_ok of references gives the winner's reference") {
  int one = 1;
  const auto refer = [](int& to) -> eddy::task<int&> { co_return to; };
  int& few = co_await eddy::race_ok(refer(one), refer(one));
  CHECK(&few == &one);
  std::vector<eddy::task<int&>> all;
  all.push_back(refer(one));
  int& of_range = co_await eddy::race_ok(std::move(all));
  CHECK(&of_range == &one);
}
