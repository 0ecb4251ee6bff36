// SPDX-License-Identifier: BSD-2-Clause
// What <eddy/future/flow/retry.h> promises.
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

/// Fails as often as it is told to, and notes when it was called.
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

ASYNC_TEST("what succeeds is tried once") {
  flaky work(clock, 0);
  const int n = co_await eddy::retry(without_jitter, std::ref(work));
  CHECK(n == 1);
  CHECK(work.times == std::vector<eddy::duration>{0s});
}

ASYNC_TEST("what fails is tried again, after delays that grow") {
  flaky work(clock, 4);
  SUBCASE("by the default's factor of 2") {
    const int n = co_await eddy::retry(without_jitter, std::ref(work));
    CHECK(n == 5);
    CHECK(work.times == std::vector<eddy::duration>{0s, 100ms, 300ms, 700ms, 1500ms});
  }
  SUBCASE("no further than the longest") {
    const eddy::retry_policy policy{
        .first_delay = 1s, .factor = 3, .longest_delay = 4s, .jitter = false};
    const int n = co_await eddy::retry(policy, std::ref(work));
    CHECK(n == 5);
    CHECK(work.times == std::vector<eddy::duration>{0s, 1s, 4s, 8s, 12s});
  }
  SUBCASE("and with a factor below one from where they would be without the longest") {
    const eddy::retry_policy policy{
        .first_delay = 1s, .factor = 0.5, .longest_delay = 700ms, .jitter = false};
    const int n = co_await eddy::retry(policy, std::ref(work));
    CHECK(n == 5);
    CHECK(work.times == std::vector<eddy::duration>{0s, 700ms, 1200ms, 1450ms, 1575ms});
  }
}

ASYNC_TEST("jitter spreads the delays, and a seed repeats them") {
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
  CHECK(delays.size() == 9);  // each is drawn anew

  flaky unseeded(clock, 1);
  const int n = co_await eddy::retry(eddy::retry_policy(), std::ref(unseeded));
  CHECK(n == 2);
  CHECK(unseeded.times[1] <= 101ms);
}

ASYNC_TEST("when the attempts are used up the last error comes out, and tells all") {
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

ASYNC_TEST("of very many errors the last are kept") {
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

ASYNC_TEST("by default only errors of the world's are worth another attempt") {
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

ASYNC_TEST("a predicate tells what is worth another attempt") {
  std::string what;
  SUBCASE("by its code") {
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
  SUBCASE("by the whole exception") {
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

ASYNC_TEST("no attempt begins after the deadline of those who await it") {
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

ASYNC_TEST("a time limit holds for all attempts together") {
  const auto before = clock.now();
  const eddy::retry_policy policy{.first_delay = 1s, .jitter = false, .limit = 10s};
  SUBCASE("none begins after it") {
    flaky work(clock, 99);
    const auto failed = co_await eddy::as_result(eddy::retry(policy, std::ref(work)));
    CHECK(failed.error() == std::errc::connection_refused);
    CHECK(work.times == std::vector<eddy::duration>{0s, 1s, 3s, 7s});
    CHECK(clock.now() - before == 7s);
  }
  SUBCASE("nor at its end") {
    const eddy::retry_policy even{
        .attempts = 50, .first_delay = 1s, .factor = 1, .jitter = false, .limit = 3s};
    flaky work(clock, 99);
    const auto failed = co_await eddy::as_result(eddy::retry(even, std::ref(work)));
    CHECK(failed.error() == std::errc::connection_refused);
    CHECK(work.times == std::vector<eddy::duration>{0s, 1s, 2s});
  }
  SUBCASE("nor at the end of those who await it") {
    const eddy::retry_policy even{.attempts = 50, .first_delay = 1s, .factor = 1, .jitter = false};
    flaky work(clock, 99);
    const auto failed =
        co_await eddy::as_result(eddy::timeout(3s, eddy::retry(even, std::ref(work))));
    CHECK(failed.error() == std::errc::connection_refused);
    CHECK(clock.now() - before == 2s);
  }
  SUBCASE("the one under way is cancelled") {
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
  SUBCASE("what ends in time is not touched") {
    flaky work(clock, 2);
    const int n = co_await eddy::retry(policy, std::ref(work));
    CHECK(n == 3);
  }
  CHECK(loop.count().timers == 0);
}

ASYNC_TEST("the function may give any awaitable, and lives until the end") {
  auto sleeps = [held = std::make_shared<int>(1)] { return eddy::sleep(1ms * *held); };
  co_await eddy::retry(without_jitter, std::move(sleeps));
}

TEST_CASE_FIXTURE(async_fixture, "a dropped retry drops the attempt, or the wait for the next") {
  int alive = 0;
  auto fails = [&]() -> eddy::task<> {
    const counted held(alive);
    co_await eddy::sleep(1s);
    throw std::system_error(std::make_error_code(std::errc::connection_refused));
  };
  auto f = eddy::spawn(loop, eddy::retry(without_jitter, fails));
  loop.run_ready();
  CHECK(alive == 1);
  SUBCASE("the attempt") {}
  SUBCASE("the wait") {
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

ASYNC_TEST("a delay below zero is none") {
  const auto begin = clock.now();
  flaky work(clock, 2);
  eddy::retry_policy policy;
  SUBCASE("the first") { policy.first_delay = -1h; }
  SUBCASE("the longest") { policy.longest_delay = -1h; }
  const int n = co_await eddy::retry(policy, std::ref(work));
  CHECK(n == 3);
  CHECK(clock.now() == begin);
  static_cast<void>(loop);
}

TEST_CASE("a factor below zero stops the program") {
  dies_saying("a factor below zero", [] {
    auto nothing = []() -> eddy::task<> { co_return; };
    eddy::block_on(eddy::retry({.factor = -1}, nothing));
  });
}

TEST_CASE("a factor that is not a number stops the program") {
  dies_saying("a factor below zero", [] {
    auto nothing = []() -> eddy::task<> { co_return; };
    eddy::block_on(eddy::retry({.factor = std::numeric_limits<double>::quiet_NaN()}, nothing));
  });
}

TEST_CASE("a policy of no attempts stops the program") {
  dies_saying("a policy of no attempts", [] {
    auto nothing = []() -> eddy::task<> { co_return; };
    eddy::block_on(eddy::retry({.attempts = 0}, nothing));
  });
}
