// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/sync/mutex.h>.
#include <eddy/future/sync/mutex.h>

#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/future/scope.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/future/yield.h>

#include "support/async_test.h"
#include "support/every_point.h"
#include "support/forked.h"
#include "support/journal.h"

using namespace std::chrono_literals;
using eddy::mutex;
using eddy::mutex_guard;
using eddy::task;
using eddy::trial;

static_assert(std::is_nothrow_move_constructible_v<mutex_guard>);
static_assert(!std::is_copy_constructible_v<mutex_guard>);
static_assert(!std::is_move_constructible_v<mutex>);

namespace {

task<> write_two(mutex& order, journal& note, std::string name) {
  const mutex_guard mine = co_await order.lock();
  note(name + "1");
  co_await eddy::sleep(1s);
  note(name + "2");
}

task<> lock_into(mutex& m, mutex_guard& kept) { kept = co_await m.lock(); }

}  // namespace

ASYNC_TEST("a mutex is held across co_await, and is granted in order") {
  journal note;
  mutex order;
  eddy::scope all;
  for (const char* const name : {"a", "b", "c"}) all.spawn(write_two(order, note, name));
  co_await eddy::yield();
  co_await eddy::yield();
  CHECK(order.locked());
  CHECK(loop.dump().contains("a mutex"));
  CHECK_FALSE(order.try_lock());
  co_await all.join();
  CHECK(note == "a1 a2 b1 b2 c1 c2");
  CHECK_FALSE(order.locked());
  CHECK(order.try_lock()->locked());
  CHECK_FALSE(order.locked());
}

ASYNC_TEST("a mutex whose next owner is cancelled goes to the one after it") {
  mutex m;
  std::optional<mutex_guard> held = m.try_lock();
  mutex_guard kept;
  mutex_guard later;
  auto first = eddy::spawn(lock_into(m, kept));
  auto second = eddy::spawn(lock_into(m, later));
  co_await eddy::yield();
  SUBCASE("while it waits") {
    first = {};
    held->unlock();
  }
  SUBCASE("after it was granted") {
    held->unlock();
    first = {};
  }
  co_await std::move(second);
  CHECK_FALSE(held->locked());
  CHECK_FALSE(kept.locked());
  CHECK(later.locked());
  CHECK(m.locked());
  const mutex_guard moved = std::move(later);
  CHECK(moved.locked());
}

TEST_CASE("misuse of a mutex aborts with a sentence") {
  dies_saying("a mutex was destroyed before its guards and waiters", [] {
    eddy::event_loop loop;
    std::optional<mutex> m(std::in_place, loop);
    const auto held = m->try_lock();
    m.reset();
  });
  dies_saying("a mutex was awaited on another loop than its own", [] {
    eddy::event_loop other;
    mutex m(other);
    eddy::event_loop loop;
    mutex_guard kept;
    auto waiting = eddy::spawn(loop, lock_into(m, kept));
    loop.run();
  });
  dies_saying("no loop runs", [] { const mutex m; });
}

SCENARIO_TEST("scenario: two tasks share a mutex") {
  const trial::part held(t);
  mutex m;
  eddy::scope all;
  for (int i = 0; i < 2; ++i) {
    all.spawn([&]() -> task<> {
      const trial::part mine(t);
      const mutex_guard guard = co_await m.lock();
      co_await eddy::sleep(1s);
    });
  }
  co_await all.join();
  CHECK_FALSE(m.locked());
}
