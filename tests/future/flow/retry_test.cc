// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/flow/retry.h>.
#include <eddy/future/flow/retry.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/timeout.h>
#include <eddy/loop/clock.h>

#include "support/async_test.h"
#include "support/counted.h"
#include "support/error_words.h"
#include "support/forked.h"

using namespace std::chrono_literals;

namespace {

static_assert(std::is_trivially_destructible_v<eddy::retry_policy>);

/// A function that fails the given number of times, and notes the time of each call.
class flaky {
public:
  flaky(eddy::manual_clock& clock, int failures) : clock_(&clock), failures_(failures) {}

  eddy::task<int> operator()() {
    times.push_back(clock_->now() - begin_);
    const int n = static_cast<int>(times.size());
    if (n <= failures_) {
      throw std::system_error(std::make_error_code(std::errc::connection_refused),
                              "attempt " + std::to_string(n));
    }
    co_return n;
  }

  std::vector<eddy::duration> times;

private:
  eddy::manual_clock* clock_;
  int failures_;
  eddy::time_point begin_ = clock_->now();
};

constexpr eddy::retry_policy without_jitter{.jitter = false};

}  // namespace

ASYNC_TEST("a function that succeeds is called once") {
  flaky work(clock, 0);
  const int n = co_await eddy::retry(without_jitter, std::ref(work));
  CHECK(n == 1);
  CHECK(work.times == std::vector<eddy::duration>{0s});
}

ASYNC_TEST("a function that fails is called again, after growing delays") {
  flaky work(clock, 4);
  SUBCASE("the default factor is 2") {
    const int n = co_await eddy::retry(without_jitter, std::ref(work));
    CHECK(n == 5);
    CHECK(work.times == std::vector<eddy::duration>{0s, 100ms, 300ms, 700ms, 1500ms});
  }
  SUBCASE("the delays stop at longest_delay") {
    const eddy::retry_policy policy{
        .first_delay = 1s, .factor = 3, .longest_delay = 4s, .jitter = false};
    const int n = co_await eddy::retry(policy, std::ref(work));
    CHECK(n == 5);
    CHECK(work.times == std::vector<eddy::duration>{0s, 1s, 4s, 8s, 12s});
  }
  SUBCASE("a factor below 1 applies to the delay without longest_delay") {
    const eddy::retry_policy policy{
        .first_delay = 1s, .factor = 0.5, .longest_delay = 700ms, .jitter = false};
    const int n = co_await eddy::retry(policy, std::ref(work));
    CHECK(n == 5);
    CHECK(work.times == std::vector<eddy::duration>{0s, 700ms, 1200ms, 1450ms, 1575ms});
  }
}

ASYNC_TEST("jitter makes the delays random, and a seed repeats them") {
  const auto run = [this](std::uint64_t seed) -> eddy::task<std::vector<eddy::duration>> {
    flaky work(clock, 20);
    const eddy::retry_policy policy{.attempts = 30, .longest_delay = 1s, .seed = seed};
    const int n = co_await eddy::retry(policy, std::ref(work));
    CHECK(n == 21);
    co_return work.times;
  };
  const auto one = co_await run(1);
  const auto again = co_await run(1);
  const auto other = co_await run(2);
  CHECK(one == again);
  CHECK(one != other);
  eddy::duration ceiling = 100ms;
  eddy::duration longest = 0s;
  for (std::size_t i = 1; i < one.size(); ++i) {
    const eddy::duration delay = one[i] - one[i - 1];
    CHECK(delay >= 0s);
    CHECK(delay <= ceiling + 1ms);
    longest = std::max(longest, delay);
    ceiling = std::min<eddy::duration>(ceiling * 2, 1s);
  }
  CHECK(longest > 500ms);

  flaky spread(clock, 9);
  const eddy::retry_policy even{.attempts = 10, .first_delay = 1s, .factor = 1, .seed = 1};
  const int tenth = co_await eddy::retry(even, std::ref(spread));
  CHECK(tenth == 10);
  std::set<eddy::duration> delays;
  for (std::size_t i = 1; i < spread.times.size(); ++i) {
    delays.insert(spread.times[i] - spread.times[i - 1]);
  }
  CHECK(delays.size() == 9);  // all delays differ

  flaky unseeded(clock, 1);
  const int n = co_await eddy::retry(eddy::retry_policy(), std::ref(unseeded));
  CHECK(n == 2);
  CHECK(unseeded.times[1] <= 101ms);
}

ASYNC_TEST("after the last attempt retry throws the last code and lists all errors") {
  flaky work(clock, 99);
  const eddy::retry_policy policy{.attempts = 3, .jitter = false};
  std::optional<eddy::retries_failed> failed;
  try {
    co_await eddy::retry(policy, std::ref(work));
  } catch (const std::system_error& e) {
    CHECK(e.code() == std::errc::connection_refused);
    failed = dynamic_cast<const eddy::retries_failed&>(e);
  }
  CHECK(work.times.size() == 3);
  REQUIRE(failed);
  REQUIRE(failed->errors().size() == 3);
  CHECK(words_of(failed->errors()[0]).starts_with("attempt 1"));
  CHECK(words_of(failed->errors()[2]).starts_with("attempt 3"));
  CHECK(std::string(failed->what()).starts_with("each attempt failed: attempt 1: "));
  CHECK(std::string(failed->what()).contains("; attempt 3: "));

  const auto as_result = co_await eddy::as_result(eddy::retry(policy, std::ref(work)));
  CHECK(as_result.error() == std::errc::connection_refused);
}

ASYNC_TEST("retries_failed keeps the last 16 errors") {
  flaky work(clock, 99);
  std::vector<std::exception_ptr> errors;
  try {
    const eddy::retry_policy policy{.attempts = 40, .jitter = false};
    co_await eddy::retry(policy, std::ref(work));
  } catch (const eddy::retries_failed& e) {
    errors.assign(e.errors().begin(), e.errors().end());
  }
  REQUIRE(errors.size() == 16);
  CHECK(words_of(errors.front()).starts_with("attempt 25"));
  CHECK(words_of(errors.back()).starts_with("attempt 40"));
}

ASYNC_TEST("by default only a std::system_error is worth another attempt") {
  int calls = 0;
  auto breaks = [&]() -> eddy::task<> {
    ++calls;
    throw std::logic_error("a mistake");
    co_return;
  };
  std::string what;
  try {
    co_await eddy::retry(without_jitter, breaks);
  } catch (const std::logic_error& e) {
    what = e.what();
  }
  CHECK(calls == 1);
  CHECK(what == "a mistake");
}

ASYNC_TEST("a predicate decides which errors are worth another attempt") {
  std::string what;
  SUBCASE("of a std::error_code") {
    flaky work(clock, 99);
    auto never = [](std::error_code e) { return e != std::errc::connection_refused; };
    try {
      co_await eddy::retry(without_jitter, std::ref(work), never);
    } catch (const eddy::retries_failed&) {
      what = "there was only one";
    } catch (const std::system_error& e) {
      what = e.what();
    }
    CHECK(work.times.size() == 1);
    CHECK(what.starts_with("attempt 1"));
  }
  SUBCASE("of a std::exception_ptr") {
    int calls = 0;
    auto breaks = [&]() -> eddy::task<> {
      throw std::runtime_error("call " + std::to_string(++calls));
      co_return;
    };
    auto twice = [&](const std::exception_ptr& e) { return words_of(e) == "call 1"; };
    try {
      co_await eddy::retry(without_jitter, breaks, twice);
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    CHECK(calls == 2);
    CHECK(what == "call 2");
  }
}

ASYNC_TEST("no attempt starts after the current deadline") {
  flaky connect(clock, 100);
  const eddy::retry_policy policy{.attempts = 50, .first_delay = 1s, .jitter = false};
  std::error_code error;
  try {
    co_await eddy::timeout(10s, eddy::retry(policy, std::ref(connect)));
  } catch (const eddy::retries_failed& e) {
    error = e.code();
  }
  CHECK(error == std::errc::connection_refused);
  CHECK(connect.times == std::vector<eddy::duration>{0s, 1s, 3s, 7s});
  static_cast<void>(loop);
}

ASYNC_TEST("the limit of a policy includes all attempts and delays") {
  const auto before = clock.now();
  const eddy::retry_policy policy{.first_delay = 1s, .jitter = false, .limit = 10s};
  SUBCASE("no attempt starts after the limit") {
    flaky work(clock, 99);
    const auto failed = co_await eddy::as_result(eddy::retry(policy, std::ref(work)));
    CHECK(failed.error() == std::errc::connection_refused);
    CHECK(work.times == std::vector<eddy::duration>{0s, 1s, 3s, 7s});
    CHECK(clock.now() - before == 7s);
  }
  SUBCASE("no attempt starts exactly at the limit") {
    const eddy::retry_policy even{
        .attempts = 50, .first_delay = 1s, .factor = 1, .jitter = false, .limit = 3s};
    flaky work(clock, 99);
    const auto failed = co_await eddy::as_result(eddy::retry(even, std::ref(work)));
    CHECK(failed.error() == std::errc::connection_refused);
    CHECK(work.times == std::vector<eddy::duration>{0s, 1s, 2s});
  }
  SUBCASE("no attempt starts exactly at the current deadline") {
    const eddy::retry_policy even{.attempts = 50, .first_delay = 1s, .factor = 1, .jitter = false};
    flaky work(clock, 99);
    const auto failed =
        co_await eddy::as_result(eddy::timeout(3s, eddy::retry(even, std::ref(work))));
    CHECK(failed.error() == std::errc::connection_refused);
    CHECK(clock.now() - before == 2s);
  }
  SUBCASE("the attempt that runs is cancelled") {
    int alive = 0;
    auto hangs = [&]() -> eddy::task<> {
      const counted held(alive);
      co_await eddy::sleep(1h);
    };
    const auto failed = co_await eddy::as_result(eddy::retry(policy, hangs));
    CHECK(failed.error() == std::errc::timed_out);
    CHECK(clock.now() - before == 10s);
    CHECK(alive == 0);
  }
  SUBCASE("an attempt that completes in time is not cancelled") {
    flaky work(clock, 2);
    const int n = co_await eddy::retry(policy, std::ref(work));
    CHECK(n == 3);
  }
  CHECK(loop.count().timers == 0);
}

ASYNC_TEST("the function may return any awaitable, and lives as long as the retry") {
  auto sleeps = [held = std::make_shared<int>(1)] { return eddy::sleep(1ms * *held); };
  co_await eddy::retry(without_jitter, std::move(sleeps));
}

TEST_CASE_FIXTURE(async_fixture, "cancelling retry cancels the attempt or the delay") {
  int alive = 0;
  auto fails = [&]() -> eddy::task<> {
    const counted held(alive);
    co_await eddy::sleep(1s);
    throw std::system_error(std::make_error_code(std::errc::connection_refused));
  };
  auto f = eddy::spawn(loop, eddy::retry(without_jitter, fails));
  loop.run_ready();
  CHECK(alive == 1);
  SUBCASE("during an attempt") {}
  SUBCASE("during a delay") {
    clock.advance(1s);
    while (loop.run_ready()) {
    }
    CHECK(alive == 0);
    CHECK(loop.count().timers == 1);
  }
  f = {};
  CHECK(alive == 0);
  CHECK(loop.count().timers == 0);
}

ASYNC_TEST("a negative delay counts as zero") {
  const auto begin = clock.now();
  flaky work(clock, 2);
  eddy::retry_policy policy;
  SUBCASE("first_delay") { policy.first_delay = -1h; }
  SUBCASE("longest_delay") { policy.longest_delay = -1h; }
  const int n = co_await eddy::retry(policy, std::ref(work));
  CHECK(n == 3);
  CHECK(clock.now() == begin);
  static_cast<void>(loop);
}

TEST_CASE("a negative factor aborts the program") {
  dies_saying("a factor below zero", [] {
    auto nothing = []() -> eddy::task<> { co_return; };
    eddy::block_on(eddy::retry({.factor = -1}, nothing));
  });
}

TEST_CASE("a factor that is not a number aborts the program") {
  dies_saying("a factor below zero", [] {
    auto nothing = []() -> eddy::task<> { co_return; };
    eddy::block_on(eddy::retry({.factor = std::numeric_limits<double>::quiet_NaN()}, nothing));
  });
}

TEST_CASE("a policy with 0 attempts aborts the program") {
  dies_saying("a policy of no attempts", [] {
    auto nothing = []() -> eddy::task<> { co_return; };
    eddy::block_on(eddy::retry({.attempts = 0}, nothing));
  });
}
