// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/flow/join_settled.h>.
#include <eddy/future/flow/join_settled.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/promise.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>

#include "support/async_test.h"
#include "support/counted.h"
#include "support/error_words.h"

using namespace std::chrono_literals;

namespace {

eddy::task<int> after(eddy::duration delay, int n) {
  co_await eddy::sleep(delay);
  co_return n;
}

eddy::task<int> fails(eddy::duration delay, std::string what) {
  if (delay != 0s) co_await eddy::sleep(delay);
  throw std::runtime_error(what);
}

eddy::task<> hold(counted, eddy::duration delay) { co_await eddy::sleep(delay); }

}  // namespace

ASYNC_TEST("join_settled waits for all awaitables and keeps every outcome") {
  const auto before = clock.now();
  auto [a, b, c, d] = co_await eddy::join_settled(fails(1s, "first"), after(3s, 2),
                                                  fails(0s, "at once"), eddy::sleep(2s));
  CHECK(clock.now() - before == 3s);
  CHECK(words_of(a.error()) == "first");
  CHECK(b == 2);
  CHECK(words_of(c.error()) == "at once");
  CHECK(d.has_value());
}

ASYNC_TEST("join_settled keeps void, references and move-only values") {
  int n = 0;
  eddy::promise<int&> p;
  auto f = p.get_future();
  p.set_value(n);
  auto boxed = []() -> eddy::task<std::unique_ptr<int>> { co_return std::make_unique<int>(4); };

  auto outcomes = co_await eddy::join_settled(std::move(f), boxed(), eddy::sleep(1s));
  static_assert(std::is_same_v<decltype(outcomes),
                               std::tuple<eddy::outcome<int&>, eddy::outcome<std::unique_ptr<int>>,
                                          eddy::outcome<void>>>);
  CHECK(&std::get<0>(outcomes)->get() == &n);
  CHECK(**std::get<1>(outcomes) == 4);
}

ASYNC_TEST("join_settled of a range gives the outcomes in the range's order") {
  std::vector<eddy::task<int>> tasks;
  tasks.push_back(after(3s, 1));
  tasks.push_back(fails(2s, "second"));
  tasks.push_back(fails(1s, "third"));
  const auto outcomes = co_await eddy::join_settled(std::move(tasks));
  REQUIRE(outcomes.size() == 3);
  CHECK(outcomes[0] == 1);
  CHECK(words_of(outcomes[1].error()) == "second");
  CHECK(words_of(outcomes[2].error()) == "third");

  const auto none = co_await eddy::join_settled(std::vector<eddy::task<>>());
  CHECK(none.empty());
}

TEST_CASE_FIXTURE(async_fixture, "cancelling join_settled cancels all awaitables") {
  int alive = 0;
  auto f = eddy::spawn(loop, eddy::join_settled(hold(counted(alive), 1h), fails(0s, "is lost"),
                                                hold(counted(alive), 2h)));
  loop.run_ready();
  CHECK(alive == 2);
  CHECK(loop.dump().contains("all of\n"));
  f = {};
  CHECK(alive == 0);
  CHECK(loop.count().timers == 0);
  CHECK_THROWS_WITH_AS(loop.run(), "is lost", std::runtime_error);  // no coroutine got this error
}
