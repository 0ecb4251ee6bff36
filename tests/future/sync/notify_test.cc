// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/sync/notify.h>.
#include <eddy/future/sync/notify.h>

#include <deque>
#include <optional>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/future/scope.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/future/yield.h>

#include "support/async_test.h"
#include "support/every_point.h"
#include "support/forked.h"
#include "support/journal.h"

using eddy::notify;
using eddy::task;
using eddy::trial;

namespace {

task<> wait(notify& n, journal& note, std::string name) {
  co_await n.wait();
  note(name);
}

}  // namespace

ASYNC_TEST("one wakes the waiter that has waited for longest, and is kept once if nobody waits") {
  journal note;
  notify n;
  n.one();
  n.one();
  co_await n.wait();  // the kept one
  auto a = eddy::spawn(wait(n, note, "a"));
  auto b = eddy::spawn(wait(n, note, "b"));
  co_await eddy::yield();
  CHECK(loop.dump().contains("a notify"));
  CHECK(note == "");  // only one was kept
  n.one();
  CHECK(note == "");
  co_await std::move(a);
  CHECK_FALSE(b.ready());
  n.one();
  co_await std::move(b);
  CHECK(note == "a b");
}

ASYNC_TEST("all wakes all waiters, and keeps nothing") {
  journal note;
  notify n;
  n.all();
  eddy::scope waiters;
  for (const char* const name : {"a", "b", "c"}) waiters.spawn(wait(n, note, name));
  co_await eddy::yield();
  co_await eddy::yield();
  CHECK(note == "");
  n.all();
  co_await waiters.join();
  CHECK(note == "a b c");
  auto late = eddy::spawn(wait(n, note, "late"));
  co_await eddy::yield();
  CHECK_FALSE(late.ready());
}

ASYNC_TEST("a waiter that is cancelled after one has woken it passes it on") {
  journal note;
  notify n;
  auto a = eddy::spawn(wait(n, note, "a"));
  SUBCASE("to the next waiter") {
    auto b = eddy::spawn(wait(n, note, "b"));
    co_await eddy::yield();
    n.one();
    a = {};
    co_await std::move(b);
    CHECK(note == "b");
  }
  SUBCASE("to a later waiter") {
    co_await eddy::yield();
    n.one();
    a = {};
    co_await n.wait();
  }
}

ASYNC_TEST("a change between the look at the state and the wait is not missed") {
  std::deque<int> queue;
  notify changed;
  int sum = 0;
  auto consumer = eddy::spawn([&]() -> task<> {
    for (int left = 1000; left != 0; --left) {
      while (queue.empty()) co_await changed.wait();
      sum += queue.front();
      queue.pop_front();
    }
  });
  for (int i = 1; i <= 1000; ++i) {
    queue.push_back(i);
    changed.one();
    if (i % 7 == 0) co_await eddy::yield();
  }
  co_await std::move(consumer);
  CHECK(sum == 500'500);
}

TEST_CASE("misuse of a notify aborts with a sentence") {
  for (const bool woken : {false, true}) {
    dies_saying("a notify was destroyed before its waiters", [&] {
      eddy::event_loop loop;
      journal note;
      std::optional<notify> n(std::in_place, loop);
      auto waiting = eddy::spawn(loop, wait(*n, note, "a"));
      loop.run_ready();
      if (woken) n->one();
      n.reset();
    });
  }
  dies_saying("a notify was awaited on another loop than its own", [] {
    eddy::event_loop other;
    notify n(other);
    eddy::event_loop loop;
    journal note;
    auto waiting = eddy::spawn(loop, wait(n, note, "a"));
    loop.run();
  });
}

SCENARIO_TEST("scenario: a task waits for a change that another makes") {
  const trial::part held(t);
  notify n;
  int state = 0;
  eddy::scope all;
  all.spawn([&]() -> task<> {
    const trial::part mine(t);
    while (state != 2) co_await n.wait();
  });
  all.spawn([&]() -> task<> {
    const trial::part mine(t);
    for (; state != 2; n.one()) {
      co_await eddy::yield();
      ++state;
    }
  });
  co_await all.join();
  CHECK(state == 2);
}
