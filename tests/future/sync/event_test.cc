// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/sync/event.h>.
#include <eddy/future/sync/event.h>

#include <optional>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/scope.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/future/yield.h>
#include <eddy/loop/timer.h>

#include "support/async_test.h"
#include "support/every_point.h"
#include "support/forked.h"
#include "support/journal.h"

using namespace std::chrono_literals;
using eddy::event;
using eddy::task;
using eddy::trial;

namespace {

task<> wait(event& e, journal& note, std::string name) {
  co_await e.wait();
  note(name);
}

}  // namespace

ASYNC_TEST("waiters of an event complete in order when it is set, also if it is reset at once") {
  journal note;
  event e;
  CHECK_FALSE(e.is_set());
  eddy::scope all;
  for (const char* const name : {"a", "b", "c"}) all.spawn(wait(e, note, name));
  co_await eddy::yield();
  co_await eddy::yield();
  CHECK(loop.dump().contains("an event"));
  e.set();
  CHECK(e.is_set());
  e.reset();
  CHECK(note == "");
  co_await all.join();
  CHECK(note == "a b c");
  const auto in_time = co_await eddy::as_result(eddy::timeout(1s, e.wait()));
  CHECK(in_time.error() == std::errc::timed_out);
  e.set();
  co_await e.wait();
}

ASYNC_TEST("waits for a set event do not starve a timer") {
  event e;
  e.set();
  int done = 0;
  int at_timer = 0;
  eddy::timer t(loop);
  t.start(0s, [&] { at_timer = done; });
  for (; done < 100'000; ++done) co_await e.wait();
  CHECK(at_timer > 0);
  CHECK(at_timer < 2000);
}

ASYNC_TEST("a waiter may be cancelled before and after the event is set") {
  journal note;
  event e;
  auto a = eddy::spawn(wait(e, note, "a"));
  auto b = eddy::spawn(wait(e, note, "b"));
  co_await eddy::yield();
  SUBCASE("before") {
    a = {};
    e.set();
  }
  SUBCASE("after") {
    e.set();
    a = {};
  }
  co_await std::move(b);
  CHECK(note == "b");
}

TEST_CASE_FIXTURE(async_fixture, "an event may be destroyed once it is set") {
  journal note;
  std::optional<event> e(std::in_place, loop);
  auto a = eddy::spawn(loop, wait(*e, note, "a"));
  loop.run_ready();
  e->set();
  e.reset();
  loop.run();
  CHECK(note == "a");
}

TEST_CASE("misuse of an event aborts with a sentence") {
  dies_saying("an event was destroyed before its waiters", [] {
    eddy::event_loop loop;
    journal note;
    std::optional<event> e(std::in_place, loop);
    auto waiting = eddy::spawn(loop, wait(*e, note, "a"));
    loop.run_ready();
    e.reset();
  });
  dies_saying("an event was awaited on another loop than its own", [] {
    eddy::event_loop other;
    event e(other);
    eddy::event_loop loop;
    journal note;
    auto waiting = eddy::spawn(loop, wait(e, note, "a"));
    loop.run();
  });
}

SCENARIO_TEST("scenario: two tasks wait for an event that a third sets") {
  const trial::part held(t);
  event e;
  eddy::scope all;
  for (int i = 0; i < 2; ++i) {
    all.spawn([&]() -> task<> {
      const trial::part mine(t);
      co_await e.wait();
    });
  }
  all.spawn([&]() -> task<> {
    const trial::part mine(t);
    co_await eddy::yield();
    e.set();
  });
  co_await all.join();
  CHECK(e.is_set());
}
