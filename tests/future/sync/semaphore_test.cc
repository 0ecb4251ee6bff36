// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/sync/semaphore.h>.
#include <eddy/future/sync/semaphore.h>

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/scope.h>
#include <eddy/future/select.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/future/yield.h>
#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/timer.h>

#include "support/async_test.h"
#include "support/every_point.h"
#include "support/forked.h"
#include "support/journal.h"

using namespace std::chrono_literals;
using eddy::permit;
using eddy::semaphore;
using eddy::task;
using eddy::trial;
using eddy::detail::failing_allocations;

static_assert(std::is_nothrow_move_constructible_v<permit>);
static_assert(std::is_nothrow_move_assignable_v<permit>);
static_assert(!std::is_copy_constructible_v<permit>);
static_assert(!std::is_move_constructible_v<semaphore>);

namespace {

/// Holds `count` permits for a while.
task<> hold(semaphore& from, std::size_t count, journal& note, std::string name) {
  const permit mine = co_await from.acquire(count);
  note(name);
  co_await eddy::sleep(1s);
}

/// Takes permits and keeps them in `kept`.
task<> keep(semaphore& from, std::size_t count, permit& kept) {
  kept = co_await from.acquire(count);
}

}  // namespace

ASYNC_TEST("a semaphore lets as many tasks run as it has permits") {
  semaphore places(3);
  eddy::scope all;
  int running = 0;
  int most = 0;
  for (int i = 0; i < 20; ++i) {
    all.spawn([&]() -> task<> {
      const permit place = co_await places.acquire();
      most = std::max(most, ++running);
      co_await eddy::sleep(1s);
      --running;
    });
  }
  co_await all.join();
  CHECK(most == 3);
  CHECK(places.available() == 3);
}

ASYNC_TEST("permits are granted first come, first served, and none passes a large claim") {
  journal note;
  semaphore from(3);
  eddy::scope all;
  permit first = co_await from.acquire(2);
  all.spawn(hold(from, 3, note, "three"));
  all.spawn(hold(from, 1, note, "one"));
  all.spawn(hold(from, 2, note, "two"));
  co_await eddy::yield();
  CHECK(loop.dump().contains("a permit of a semaphore"));
  CHECK(from.available() == 1);
  CHECK_FALSE(from.try_acquire());  // others wait
  first.release();
  CHECK(note == "");
  CHECK(from.available() == 0);  // granted
  co_await all.join();
  CHECK(note == "three one two");
  CHECK(from.available() == 3);
}

ASYNC_TEST("permits of a waiter that is cancelled before it resumes go to the next") {
  semaphore from(1);
  std::optional<permit> held = from.try_acquire();
  permit kept;
  auto first = eddy::spawn(keep(from, 1, kept));
  permit later;
  auto second = eddy::spawn(keep(from, 1, later));
  co_await eddy::yield();
  SUBCASE("while it waits") {
    first = {};
    held.reset();
  }
  SUBCASE("after they were granted") {
    held.reset();
    first = {};
  }
  co_await std::move(second);
  CHECK(kept.count() == 0);
  CHECK(later.count() == 1);
}

ASYNC_TEST("a large claim that is cancelled lets the smaller ones behind it go on") {
  semaphore from(3);
  const permit two = co_await from.acquire(2);
  permit large;
  auto first = eddy::spawn(keep(from, 3, large));
  permit small;
  auto second = eddy::spawn(keep(from, 1, small));
  co_await eddy::yield();
  first = {};
  co_await std::move(second);
  CHECK(small.count() == 1);
}

ASYNC_TEST("a permit can be moved, split and released") {
  semaphore from(5);
  permit all = co_await from.acquire(5);
  permit two = all.split(2);
  CHECK(all.count() == 3);
  CHECK(two.count() == 2);
  CHECK(all.split(0).count() == 0);
  const permit moved = std::move(two);
  CHECK(two.count() == 0);  // NOLINT(bugprone-use-after-move): that is tested
  two.release();
  CHECK(moved.count() == 2);
  permit rest = all.split(3);
  CHECK(all.count() == 0);
  all.release();
  CHECK(from.available() == 0);
  rest = permit();
  CHECK(from.available() == 3);
  CHECK(from.try_acquire(4) == std::nullopt);
  CHECK(from.try_acquire(0)->count() == 0);
}

ASYNC_TEST("permits can be added while a task waits for them") {
  semaphore from(1);
  const permit one = co_await from.acquire();
  permit kept;
  auto waiting = eddy::spawn(keep(from, 1, kept));
  co_await eddy::yield();
  CHECK_FALSE(waiting.ready());
  from.add(2);
  co_await std::move(waiting);
  CHECK(from.available() == 1);
}

ASYNC_TEST("an acquire in a select that loses leaves the permits") {
  semaphore from(1);
  const permit one = co_await from.acquire();
  const auto first = co_await eddy::select(from.acquire(), eddy::sleep(1s));
  CHECK(first.index() == 1);
  const auto in_time = co_await eddy::as_result(eddy::timeout(1s, from.acquire()));
  CHECK_FALSE(in_time.has_value());
}

ASYNC_TEST("a semaphore allocates nothing and starves nobody") {
  semaphore from(2);
  const permit one = co_await from.acquire();
  int done = 0;
  int at_timer = 0;
  eddy::timer t(loop);
  t.start(0s, [&] { at_timer = done; });
  {
    const failing_allocations none(0, failing_allocations::times::for_good);
    for (; done < 100'000; ++done) {
      const permit two = co_await from.acquire();
      CHECK(two.count() == 1);
    }
  }
  CHECK(at_timer > 0);
  CHECK(at_timer < 2000);
}

TEST_CASE("misuse of a semaphore aborts with a sentence") {
  dies_saying("more permits were awaited than the semaphore has", [] {
    eddy::event_loop loop;
    semaphore from(loop, 2);
    static_cast<void>(from.acquire(3));
  });
  dies_saying("a semaphore has at most semaphore::most permits", [] {
    eddy::event_loop loop;
    const semaphore from(loop, semaphore::most + 1);
  });
  dies_saying("a semaphore has at most semaphore::most permits", [] {
    eddy::event_loop loop;
    semaphore from(loop, 1);
    from.add(semaphore::most);
  });
  dies_saying("more permits were split off than the permit holds", [] {
    eddy::event_loop loop;
    semaphore from(loop, 1);
    auto one = from.try_acquire();
    static_cast<void>(one->split(2));
  });
  dies_saying("a semaphore was destroyed before its permits and waiters", [] {
    eddy::event_loop loop;
    std::optional<semaphore> from(std::in_place, loop, 1);
    const auto one = from->try_acquire();
    from.reset();
  });
  dies_saying("a semaphore was awaited on another loop than its own", [] {
    eddy::event_loop other;
    semaphore from(other, 1);
    eddy::event_loop loop;
    permit kept;
    auto waiting = eddy::spawn(loop, keep(from, 1, kept));
    loop.run();
  });
}

SCENARIO_TEST("scenario: two tasks share a permit") {
  const trial::part held(t);
  semaphore from(1);
  eddy::scope all;
  for (int i = 0; i < 2; ++i) {
    all.spawn([&]() -> task<> {
      const trial::part mine(t);
      const permit one = co_await from.acquire();
      co_await eddy::sleep(1s);
    });
  }
  co_await all.join();
  CHECK(from.available() == 1);
}

namespace {

/// A plain model of a semaphore: the waiters in their order, and the number of free permits.
class plain_semaphore {
public:
  explicit plain_semaphore(std::size_t permits) : free_(permits) {}

  bool try_acquire(std::size_t n) {
    if (!waiting_.empty() || free_ < n) return false;
    free_ -= n;
    return true;
  }
  void wait(int who, std::size_t n) {
    waiting_.emplace_back(who, n);
    grant();
  }
  void give(std::size_t n) {
    free_ += n;
    grant();
  }
  void cancel(int who) {
    std::erase_if(waiting_, [&](const auto& w) { return w.first == who; });
    grant();
  }
  std::vector<int> granted;  // in order
  [[nodiscard]] std::size_t free() const { return free_; }

private:
  void grant() {
    while (!waiting_.empty() && waiting_.front().second <= free_) {
      free_ -= waiting_.front().second;
      granted.push_back(waiting_.front().first);
      waiting_.pop_front();
    }
  }
  std::deque<std::pair<int, std::size_t>> waiting_;
  std::size_t free_;
};

}  // namespace

TEST_CASE_FIXTURE(async_fixture, "a semaphore does what its model does, in random operations") {
  constexpr int operations = 1'000'000;
  constexpr std::size_t permits = 8;
  std::mt19937 random(1);
  semaphore real(loop, permits);
  plain_semaphore model(permits);
  struct waiter {
    int name;
    std::size_t count;
    permit kept;
    eddy::future<> running;
  };
  std::vector<std::unique_ptr<waiter>> waiters;
  std::vector<permit> held;
  std::vector<int> resumed;
  int names = 0;
  const auto wait = [&](waiter& w) -> task<> {
    w.kept = co_await real.acquire(w.count);
    resumed.push_back(w.name);
  };
  // A waiter takes its permits when the loop runs.
  const auto settle = [&] {
    loop.run_ready();
    REQUIRE(resumed == model.granted);
    resumed.clear();
    model.granted.clear();
    std::erase_if(waiters, [&](auto& w) {
      if (!w->running.ready()) return false;
      held.push_back(std::move(w->kept));
      return true;
    });
  };
  for (int i = 0; i < operations; ++i) {
    const std::size_t n = 1 + random() % 4;
    switch (random() % 5) {
      case 0: {
        auto got = real.try_acquire(n);
        REQUIRE(got.has_value() == model.try_acquire(n));
        if (got) held.push_back(*std::move(got));
        break;
      }
      case 1: {
        if (waiters.size() > 10) break;
        waiters.push_back(std::make_unique<waiter>());
        waiter& w = *waiters.back();
        w.name = names++;
        w.count = n;
        w.running = eddy::spawn(loop, wait(w));
        loop.run_ready();
        model.wait(w.name, n);
        settle();
        break;
      }
      case 2: {
        if (held.empty()) break;
        const std::size_t which = random() % held.size();
        std::swap(held[which], held.back());
        const std::size_t count = held.back().count();
        held.pop_back();
        model.give(count);
        if (random() % 2 == 0) settle();
        break;
      }
      case 3: {
        if (waiters.empty() || !model.granted.empty()) break;
        const std::size_t which = random() % waiters.size();
        const int name = waiters[which]->name;
        waiters.erase(waiters.begin() + static_cast<std::ptrdiff_t>(which));
        model.cancel(name);
        break;
      }
      default: settle();
    }
    REQUIRE(real.available() == model.free());
  }
  waiters.clear();
  held.clear();
  CHECK(real.available() == permits);
}
