// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/flow/interval.h>.
#include <eddy/future/flow/interval.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/future/yield.h>
#include <eddy/loop/clock.h>
#include <eddy/loop/loop_handle.h>

#include "support/asleep.h"
#include "support/async_test.h"
#include "support/forked.h"

using namespace std::chrono_literals;

namespace {

using times = std::vector<eddy::duration>;

struct ticks {
  times at;
  times due;
  std::vector<std::uint64_t> missed;
};

/// The ticks of an interval of 1 s. The work after the first tick takes until `busy_until`.
eddy::task<ticks> tick(eddy::manual_clock* clock, eddy::missed_ticks rule,
                       eddy::duration busy_until) {
  const auto begin = clock->now();
  eddy::interval seconds(1s, rule);
  ticks all;
  for (int i = 0; i < 5; ++i) {
    const eddy::time_point due = co_await seconds.next();
    all.at.push_back(clock->now() - begin);
    all.due.push_back(due - begin);
    all.missed.push_back(seconds.missed());
    if (i == 0) co_await eddy::sleep_until(begin + busy_until);
  }
  co_return all;
}

}  // namespace

ASYNC_TEST("an interval ticks each period, however long the work takes") {
  for (const auto rule : {eddy::missed_ticks::skip, eddy::missed_ticks::burst}) {
    const ticks all = co_await tick(&clock, rule, 1900ms);
    CHECK(all.at == times{1s, 2s, 3s, 4s, 5s});
    CHECK(all.due == all.at);
  }
}

ASYNC_TEST("an interval skips missed ticks by default") {
  const ticks all = co_await tick(&clock, eddy::missed_ticks::skip, 3500ms);
  CHECK(all.at == times{1s, 3500ms, 4s, 5s, 6s});
  CHECK(all.due == times{1s, 2s, 4s, 5s, 6s});
  CHECK(all.missed == std::vector<std::uint64_t>{0, 1, 0, 0, 0});
}

ASYNC_TEST("burst delivers missed ticks at once") {
  const ticks all = co_await tick(&clock, eddy::missed_ticks::burst, 3500ms);
  CHECK(all.at == times{1s, 3500ms, 3500ms, 4s, 5s});
  CHECK(all.due == times{1s, 2s, 3s, 4s, 5s});
  CHECK(all.missed == std::vector<std::uint64_t>{0, 0, 0, 0, 0});
}

ASYNC_TEST("delay shifts all ticks after a missed one") {
  const ticks all = co_await tick(&clock, eddy::missed_ticks::delay, 3500ms);
  CHECK(all.at == times{1s, 3500ms, 4500ms, 5500ms, 6500ms});
  CHECK(all.due == times{1s, 2s, 4500ms, 5500ms, 6500ms});
}

ASYNC_TEST("skip also skips a tick that is due exactly when the late tick comes") {
  const ticks all = co_await tick(&clock, eddy::missed_ticks::skip, 3s);
  CHECK(all.at == times{1s, 3s, 4s, 5s, 6s});
  CHECK(all.missed == std::vector<std::uint64_t>{0, 1, 0, 0, 0});
}

ASYNC_TEST("missed ticks are counted up to the present time, not the turn's") {
  const auto second = [&](auto rule) -> eddy::task<eddy::duration> {
    co_await eddy::sleep(1h);  // so that the following lines run in a new turn
    const eddy::time_point turn = loop.now();
    clock.advance(10s);
    eddy::interval every(2s, rule);
    clock.advance(5s);
    CHECK(co_await every.next() - turn == 12s);
    CHECK(every.missed() == (rule == eddy::missed_ticks::skip ? 1 : 0));
    co_return co_await every.next() - turn;
  };
  CHECK(co_await second(eddy::missed_ticks::skip) == 16s);
  CHECK(co_await second(eddy::missed_ticks::burst) == 14s);
  CHECK(co_await second(eddy::missed_ticks::delay) == 17s);
}

ASYNC_TEST("a cancelled next loses no tick") {
  const auto begin = clock.now();
  eddy::interval seconds(1s);
  const auto early = co_await eddy::as_result(eddy::timeout(500ms, seconds.next()));
  CHECK_FALSE(early);
  const eddy::time_point due = co_await seconds.next();
  CHECK(due - begin == 1s);
  CHECK(clock.now() == due);
  CHECK(seconds.period() == 1s);
}

namespace {

/// Whether the process's only timerfd may be set to a whole millisecond.
bool set_to_a_millisecond() {
  using std::chrono::steady_clock;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;  // of the iterator itself, which is closed by now
    if (std::filesystem::read_symlink(entry.path(), gone) != "anon_inode:[timerfd]") continue;
    itimerspec t{};
    const auto before = steady_clock::now();
    ::timerfd_gettime(std::stoi(entry.path().filename()), &t);
    const auto after = steady_clock::now();
    const auto left =
        std::chrono::seconds(t.it_value.tv_sec) + std::chrono::nanoseconds(t.it_value.tv_nsec);
    if (left != 0s)
      return std::chrono::ceil<std::chrono::milliseconds>(before + left) <= after + left;
  }
  FAIL_CHECK("no timer is set");
  return false;
}

/// Whether a loop that sleeps until the tick of an interval sets its timerfd to a whole
/// millisecond.
bool sleeps_to_a_millisecond(eddy::resolution exactness) {
  struct program {
    static eddy::task<> tick(eddy::resolution exactness) {
      eddy::interval hours(1h, eddy::missed_ticks::skip, exactness);
      co_await hours.next();
    }
  };
  bool found = false;
  eddy::event_loop loop;  // a new loop, because an older one may still have a timer set
  auto ticking = eddy::spawn(loop, program::tick(exactness));
  const std::jthread waker([&loop, &found, sleeper = ::gettid(), handle = loop.handle()] {
    wait_until_asleep(sleeper);
    handle.post([&] {
      found = set_to_a_millisecond();
      loop.stop();
    });
  });
  loop.run();
  return found;
}

}  // namespace

TEST_CASE_FIXTURE(tidy, "an interval waits with the resolution it was given") {
  CHECK(sleeps_to_a_millisecond(eddy::resolution::millisecond));
  // A fine timer may also be set to a whole millisecond by chance, or seem so after an
  // interruption.
  bool always = true;
  for (int i = 0; always && i < 100; ++i) {
    always = sleeps_to_a_millisecond(eddy::resolution::fine);
  }
  CHECK_FALSE(always);
}

ASYNC_TEST("the dump of the loop shows a task that awaits an interval") {
  struct program {
    static eddy::task<> tick() {
      eddy::interval seconds(1s);
      co_await seconds.next();
    }
  };
  auto ticking = eddy::spawn(program::tick());
  co_await eddy::sleep(500ms);
  CHECK(loop.dump().contains("eddy::interval::next at interval.cc:"));
  CHECK(loop.dump().contains(": sleep, 500 ms left"));
}

ASYNC_TEST("next may be called again after the suspended next is cancelled") {
  eddy::interval seconds(1s);
  auto first = eddy::spawn(seconds.next());
  co_await eddy::yield();
  const auto unused = seconds.next();
  first = {};
  eddy::interval copy = seconds;
  co_await seconds.next();
  co_await copy.next();
}

TEST_CASE("two tasks that await one interval abort the program") {
  dies_saying("another next of this interval is suspended", [] {
    struct program {
      static eddy::task<> wait_twice() {
        eddy::interval seconds(1s);
        const auto first = eddy::spawn(seconds.next());
        const auto second = eddy::spawn(seconds.next());
        co_await eddy::sleep(1h);
      }
    };
    eddy::block_on(program::wait_twice());
  });
}

TEST_CASE("an interval with a period of 0 aborts the program") {
  dies_saying("a period that is not more than zero", [] {
    struct program {
      static eddy::task<> make() {
        const eddy::interval never(0s);
        co_return;
      }
    };
    eddy::block_on(program::make());
  });
}
