// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/sync/shared_mutex.h>.
#include <eddy/future/sync/shared_mutex.h>

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
using eddy::shared_mutex;
using eddy::shared_mutex_guard;
using eddy::task;
using eddy::trial;

static_assert(std::is_nothrow_move_constructible_v<shared_mutex_guard>);
static_assert(!std::is_copy_constructible_v<shared_mutex_guard>);
static_assert(!std::is_move_constructible_v<shared_mutex>);

namespace {

task<> read(shared_mutex& m, journal& note, std::string name) {
  const shared_mutex_guard mine = co_await m.lock_shared();
  note("+" + name);
  co_await eddy::sleep(1s);
  note("-" + name);
}

task<> write(shared_mutex& m, journal& note, std::string name) {
  const shared_mutex_guard mine = co_await m.lock();
  note("+" + name);
  co_await eddy::sleep(1s);
  note("-" + name);
}

task<> lock_into(shared_mutex& m, shared_mutex_guard& kept) { kept = co_await m.lock(); }

}  // namespace

ASYNC_TEST("readers share the mutex, a writer is alone, and nobody passes a waiting writer") {
  journal note;
  shared_mutex m;
  eddy::scope all;
  all.spawn(read(m, note, "r1"));
  all.spawn(read(m, note, "r2"));
  all.spawn(write(m, note, "w"));
  all.spawn(read(m, note, "r3"));
  all.spawn(read(m, note, "r4"));
  co_await eddy::yield();
  co_await eddy::yield();
  CHECK(loop.dump().contains("a shared_mutex, to lock it alone"));
  CHECK(loop.dump().contains("a shared_mutex, to share it"));
  CHECK_FALSE(m.try_lock_shared());  // a writer waits
  co_await all.join();
  CHECK(note == "+r1 +r2 -r1 -r2 +w -w +r3 +r4 -r3 -r4");
}

ASYNC_TEST("try_lock and try_lock_shared never wait") {
  shared_mutex m;
  auto one = m.try_lock_shared();
  auto two = m.try_lock_shared();
  CHECK(one->locked());
  CHECK(two->locked());
  CHECK_FALSE(m.try_lock());
  one->unlock();
  CHECK_FALSE(m.try_lock());
  two->unlock();
  auto alone = m.try_lock();
  CHECK(alone->locked());
  CHECK_FALSE(m.try_lock_shared());
  const shared_mutex_guard moved = *std::move(alone);
  CHECK(moved.locked());
  CHECK_FALSE(alone->locked());
  co_return;
}

ASYNC_TEST("a writer that is cancelled lets the readers behind it go on") {
  journal note;
  shared_mutex m;
  auto reading = m.try_lock_shared();
  shared_mutex_guard kept;
  auto writer = eddy::spawn(lock_into(m, kept));
  auto reader = eddy::spawn(read(m, note, "r"));
  co_await eddy::yield();
  SUBCASE("while it waits") { writer = {}; }
  SUBCASE("after the mutex was granted to it") {
    reading->unlock();
    writer = {};
  }
  co_await std::move(reader);
  CHECK(note == "+r -r");
}

TEST_CASE("misuse of a shared_mutex aborts with a sentence") {
  dies_saying("a shared_mutex was destroyed before its guards and waiters", [] {
    eddy::event_loop loop;
    std::optional<shared_mutex> m(std::in_place, loop);
    const auto held = m->try_lock_shared();
    m.reset();
  });
  dies_saying("a shared_mutex was awaited on another loop than its own", [] {
    eddy::event_loop other;
    shared_mutex m(other);
    eddy::event_loop loop;
    shared_mutex_guard kept;
    auto waiting = eddy::spawn(loop, lock_into(m, kept));
    loop.run();
  });
}

SCENARIO_TEST("scenario: a writer between two readers") {
  const trial::part held(t);
  shared_mutex m;
  eddy::scope all;
  for (int i = 0; i < 3; ++i) {
    all.spawn([&, i]() -> task<> {
      const trial::part mine(t);
      shared_mutex_guard guard;
      if (i == 1) {
        guard = co_await m.lock();
      } else {
        guard = co_await m.lock_shared();
      }
      co_await eddy::sleep(1s);
    });
  }
  co_await all.join();
  CHECK(m.try_lock()->locked());
}
