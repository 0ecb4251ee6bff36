// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/yield.h>.
#include <eddy/future/yield.h>

#include <chrono>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/block_on.h>
#include <eddy/future/spawn.h>
#include <eddy/loop/readiness.h>
#include <eddy/loop/timer.h>

#include "support/async_test.h"
#include "support/journal.h"
#include "support/socket_pair.h"

using namespace std::chrono_literals;

ASYNC_TEST("a task that yields resumes after everything that was ready then") {
  journal note;
  loop.defer([&] {
    note("a");
    loop.defer([&] { note("later"); });
  });
  loop.defer([&] { note("b"); });
  co_await eddy::yield();
  note("on");
  co_await eddy::yield();
  CHECK(note == "a b on later");
}

ASYNC_TEST("a million yields grow no stack") {
  const void* const first = __builtin_frame_address(0);
  bool same = true;
  co_await eddy::yield();
  const void* const resumed = __builtin_frame_address(0);
  for (int i = 0; i < 1'000'000; ++i) {
    co_await eddy::yield();
    same = same && __builtin_frame_address(0) == resumed;
  }
  CHECK(same);
  CHECK(first != nullptr);
}

TEST_CASE_FIXTURE(async_fixture, "a task destroyed in its yield does not resume") {
  journal note;
  struct program {
    static eddy::task<> yields(journal* to) {
      co_await eddy::yield();
      (*to)("never");
    }
  };
  auto f = eddy::spawn(loop, program::yields(&note));
  loop.defer([&] { f = {}; });
  loop.run();
  CHECK(note == "");
}

TEST_CASE_FIXTURE(async_fixture,
                  "tasks that are always ready delay neither timers nor descriptors") {
  const socket_pair ends;
  std::vector<eddy::future<>> flood;
  auto turn = [](long* count) -> eddy::task<> {
    for (;;) {
      ++*count;
      co_await eddy::yield();
    }
  };
  long turns = 0;
  for (int i = 0; i < 1000; ++i) flood.push_back(eddy::spawn(loop, turn(&turns)));
  loop.run_once();

  bool timer_ran = false;
  bool descriptor_ready = false;
  eddy::timer timer(loop);
  timer.start(0ms, [&] { timer_ran = true; });
  eddy::readiness watch(loop, ends.near());
  watch.wait_readable([&](std::error_code) { descriptor_ready = true; });
  ends.send();
  const long before = turns;
  while (!timer_ran || !descriptor_ready) loop.run_once();
  // The handlers run after the tasks that were queued before: one round of all tasks, and at
  // most a turn's budget of the next round.
  CHECK(turns - before <= 1000 + 2 * eddy::event_loop::budget);
}
