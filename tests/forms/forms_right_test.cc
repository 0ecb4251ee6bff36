// SPDX-License-Identifier: BSD-2-Clause
// The forms of co_await that g++ 12 compiles correctly and that users may write. Fresh memory
// may hide an error, so run this test with MALLOC_PERTURB_ set. forms_wrong.cc has the forms
// that g++ 12 compiles wrongly.
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/adapt.h>
#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/flow/interval.h>
#include <eddy/future/flow/join_settled.h>
#include <eddy/future/flow/race_ok.h>
#include <eddy/future/flow/retry.h>
#include <eddy/future/flow/shared.h>
#include <eddy/future/future.h>
#include <eddy/future/join.h>
#include <eddy/future/promise.h>
#include <eddy/future/run_blocking.h>
#include <eddy/future/select.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/future/yield.h>
#include <eddy/loop/child_process.h>
#include <eddy/loop/timer.h>

#include "support/async_test.h"
#include "support/counted.h"

using namespace std::chrono_literals;

namespace {

// g++ 12 destroys the members of an aggregate twice if the aggregate is made in a co_await.
// Therefore eddy's public types and awaiters are no aggregates, or have trivial destructors.
template <class T>
constexpr bool safe = !std::is_aggregate_v<T> || std::is_trivially_destructible_v<T>;

template <class A>
constexpr bool safe_to_await =
    safe<A> && safe<std::remove_cvref_t<decltype(eddy::detail::own_awaiter(std::declval<A>()))>>;

struct start {
  auto operator()(eddy::completer<std::string>) const {
    return [] {};
  }
};

static_assert(safe_to_await<eddy::task<std::string>>);
static_assert(safe_to_await<eddy::future<std::string>>);
static_assert(safe_to_await<decltype(eddy::sleep(1s))>);
static_assert(safe_to_await<decltype(eddy::yield())>);
static_assert(safe_to_await<decltype(eddy::adapt<std::string>(start()))>);
static_assert(safe_to_await<decltype(eddy::as_result(eddy::sleep(1s)))>);
static_assert(safe_to_await<decltype(eddy::join(eddy::sleep(1s), eddy::sleep(1s)))>);
static_assert(safe_to_await<decltype(eddy::join(std::vector<eddy::task<std::string>>()))>);
static_assert(safe_to_await<decltype(eddy::join_settled(eddy::sleep(1s), eddy::sleep(1s)))>);
static_assert(safe_to_await<decltype(eddy::select(eddy::sleep(1s), eddy::sleep(1s)))>);
static_assert(safe_to_await<decltype(eddy::select(std::vector<eddy::task<std::string>>()))>);
static_assert(safe_to_await<decltype(eddy::race_ok(eddy::sleep(1s), eddy::sleep(1s)))>);
static_assert(safe_to_await<eddy::shared<std::string>>);
static_assert(safe_to_await<decltype(eddy::timeout(1s, eddy::sleep(1s)))>);
static_assert(safe_to_await<std::suspend_always>);
static_assert(safe<eddy::promise<std::string>>);
static_assert(safe<eddy::completer<std::string>>);
static_assert(safe<eddy::outcome<std::string>>);
static_assert(safe<eddy::result<std::string>>);
static_assert(safe<eddy::selected<std::string>>);
static_assert(safe<eddy::retry_policy>);
static_assert(safe<eddy::interval>);
static_assert(safe<eddy::exit_status>);
static_assert(safe<eddy::timer>);

std::string longer(int n) { return std::string(100, 'a') + std::to_string(n); }

eddy::task<int> number(int n, bool waits) {
  if (waits) co_await eddy::yield();
  co_return n;
}

eddy::task<std::string> text(int n, bool waits) {
  if (waits) co_await eddy::yield();
  co_return longer(n);
}

eddy::task<std::pair<std::string, int>> both(int n, bool waits) {
  if (waits) co_await eddy::yield();
  co_return std::pair(longer(n), n);
}

eddy::task<std::vector<std::string>> many(bool waits) {
  if (waits) co_await eddy::yield();
  co_return std::vector{longer(1), longer(2)};
}

eddy::task<std::optional<std::string>> perhaps(bool waits) {
  if (waits) co_await eddy::yield();
  co_return longer(3);
}

eddy::task<std::size_t> length(std::string by_value, std::unique_ptr<int> moved,
                               std::string or_not = longer(9)) {
  co_await eddy::yield();
  co_return by_value.size() + static_cast<std::size_t>(*moved) + or_not.size();
}

eddy::task<int> throws(bool waits) {
  if (waits) co_await eddy::yield();
  throw std::runtime_error(longer(1));
}

// ---- coroutines without a named local

eddy::task<> statement() { co_await text(1, true); }

eddy::task<std::string> returned() { co_return co_await text(1, true); }

eddy::task<int> named_condition(bool waits) {
  const int n = co_await number(1, waits);
  if (n == 1) co_return 10;
  co_return 20;
}

eddy::task<int> named_loop() {
  int count = 0;
  for (int n = co_await number(0, true); n < 5;) {
    ++count;
    n = co_await number(count, count % 2 == 0);
  }
  co_return count;
}

}  // namespace

ASYNC_TEST("a co_await may be a statement, an initialiser or the operand of co_return") {
  co_await statement();
  const std::string s = co_await returned();
  CHECK(s == longer(1));
  for (const bool waits : {false, true}) {
    const int ten = co_await named_condition(waits);
    CHECK(ten == 10);
  }
  const int five = co_await named_loop();
  CHECK(five == 5);
}

ASYNC_TEST("a co_await may initialise a structured binding, an optional or a range") {
  for (const bool waits : {false, true}) {
    auto [s, n] = co_await both(4, waits);
    CHECK(s == longer(4));
    CHECK(n == 4);

    if (auto o = co_await perhaps(waits)) CHECK(*o == longer(3));

    std::optional<std::string> o;
    o = co_await text(5, waits);
    CHECK(*o == longer(5));

    std::string all;
    for (const auto& one : co_await many(waits)) all += one;
    CHECK(all == longer(1) + longer(2));
  }
}

ASYNC_TEST("an expression may hold several co_awaits") {
  for (const bool waits : {false, true}) {
    const int sum = co_await number(1, waits) + 10 * co_await number(2, !waits);
    CHECK(sum == 21);
    const std::string joined = co_await text(1, waits) + "-" + co_await text(2, !waits);
    CHECK(joined == longer(1) + "-" + longer(2));
  }
}

ASYNC_TEST("an awaited call may have default and move-only arguments") {
  auto box = std::make_unique<int>(3);
  const auto size = co_await length(longer(1), std::move(box));
  CHECK(size == 205);
  const auto same = co_await length(longer(1), std::make_unique<int>(3), longer(2));
  CHECK(same == 205);
}

ASYNC_TEST("a try block may hold several co_awaits") {
  int caught = 0;
  for (const bool waits : {false, true, false}) {
    try {
      const int n = co_await throws(waits);
      CHECK(n == 0);
    } catch (const std::runtime_error& e) {
      caught += e.what() == longer(1) ? 1 : 0;
    }
  }
  CHECK(caught == 3);
}

ASYNC_TEST("an if statement may choose between co_awaits") {
  for (const bool waits : {false, true}) {
    std::string s = longer(0);
    if (waits) s = co_await text(1, waits);
    CHECK(s == longer(waits ? 1 : 0));
  }
}

ASYNC_TEST("a lambda that owns something may be named, or called outside the co_await") {
  auto job = [s = longer(1)] { return s.size(); };
  const auto size = co_await eddy::run_blocking(std::move(job));
  CHECK(size == 101);

  int alive = 0;
  auto later = eddy::spawn([held = counted(alive)]() -> eddy::task<int> {
    co_await eddy::yield();
    co_return 1;
  });
  const int one = co_await std::move(later);
  CHECK(one == 1);
  CHECK(alive == 0);

  const auto length = [s = longer(1)](std::string more) { return s.size() + more.size(); };
  const auto run = [&](std::string more) {
    auto bound = [&length, more] { return length(more); };
    return eddy::run_blocking(std::move(bound));
  };
  const auto sum = co_await run(longer(2));
  CHECK(sum == 202);
}

ASYNC_TEST("a lambda coroutine may have parameters and captures by reference") {
  const auto twice = [](std::string s) -> eddy::task<std::string> {
    co_await eddy::yield();
    co_return s + s;
  };
  const std::string s = co_await twice(longer(1));
  CHECK(s == longer(1) + longer(1));

  int n = 0;
  co_await eddy::adapt([&n](eddy::completer<> done) {
    n = 1;
    done();
    return [&n] { n = 2; };
  });
  CHECK(n == 1);
}
