// SPDX-License-Identifier: BSD-2-Clause
// What <eddy/loop/clock.h> promises.
#include <eddy/loop/clock.h>

#include <chrono>

#include <doctest/doctest.h>

#include <eddy/loop/keep_alive.h>
#include <eddy/loop/readiness.h>
#include <eddy/loop/timer.h>

#include "support/journal.h"
#include "support/socket_pair.h"
#include "support/tidy.h"

using namespace std::chrono_literals;

TEST_CASE("a manual clock moves forward only, and only by hand") {
  eddy::manual_clock clock;
  const auto start = clock.now();
  CHECK(clock.now() == start);

  clock.advance(5s);
  CHECK(clock.now() == start + 5s);
  clock.advance_to(start + 3s);
  CHECK(clock.now() == start + 5s);
  clock.advance_to(start + 9s);
  CHECK(clock.now() == start + 9s);
}

TEST_CASE_FIXTURE(with_still_loop, "an hour passes at once when the clock is moved") {
  bool rang = false;
  eddy::timer timer(loop);
  timer.start(1h, [&] { rang = true; });

  clock.advance(1h - 1ns);
  loop.run();
  CHECK_FALSE(rang);
  clock.advance(1ns);
  loop.run();
  CHECK(rang);
  CHECK(loop.now() == timer.deadline());
}

TEST_CASE_FIXTURE(with_still_loop, "time that is held keeps no loop running") {
  eddy::timer timer(loop);
  timer.start(1ns, [] { FAIL("nothing is due"); });

  loop.run();
  loop.run_once();
  CHECK_FALSE(loop.run_ready());
  CHECK(loop.next_run() == 1ns);
}

TEST_CASE_FIXTURE(with_still_loop, "now does not change during a turn, though the clock is moved") {
  eddy::time_point first{};
  eddy::time_point second{};
  loop.defer([&] {
    first = loop.now();
    clock.advance(1h);
    second = loop.now();
  });
  loop.run();

  CHECK(first == second);
  CHECK(loop.after(0s) == first + 1h);
}

TEST_CASE_FIXTURE(with_jumping_loop, "an idle loop jumps from deadline to deadline") {
  journal note;
  const auto start = clock.now();
  eddy::timer late(loop);
  eddy::timer early(loop);
  late.start(2h, [&] {
    note("late");
    CHECK(clock.now() == start + 2h);
  });
  early.start(1h, [&] {
    note("early");
    CHECK(clock.now() == start + 1h);
    early.start(30min, [&] { note("again"); });
  });

  loop.run();
  CHECK(note == "early again late");
}

TEST_CASE_FIXTURE(with_jumping_loop, "a jump lands on the deadline that a timer was moved to") {
  const auto start = clock.now();
  eddy::timer timer(loop);
  timer.start(1h, [&] { CHECK(clock.now() == start + 3h); });
  timer.restart(3h);

  loop.run();
  CHECK(clock.now() == start + 3h);
}

TEST_CASE_FIXTURE(with_jumping_loop, "a descriptor that is ready comes before a jump") {
  journal note;
  socket_pair pair;
  eddy::readiness near(loop, pair.near());
  near.wait_readable([&](std::error_code) { note("descriptor"); });
  eddy::timer timer(loop);
  timer.start(1ns, [&] { note("timer"); });
  pair.send();

  loop.run();
  CHECK(note == "descriptor timer");
}

TEST_CASE_FIXTURE(with_jumping_loop, "a wait for a descriptor lets the clock jump to its limit") {
  socket_pair pair;
  eddy::readiness near(loop, pair.near());
  eddy::timer limit(loop);
  near.wait_readable([](std::error_code) { FAIL("nothing comes"); });
  limit.start(1h, [&] { near.stop(); });

  SUBCASE("of a timer that keeps the loop running") {}
  SUBCASE("of a timer in the background") { limit.background(true); }
  loop.run();
  CHECK_FALSE(near.waiting(eddy::readiness::direction::read));
}

TEST_CASE_FIXTURE(with_jumping_loop, "no jump happens while work from keep_alive is out") {
  journal note;
  eddy::timer timer(loop);
  timer.start(1h, [&] { note("timer"); });
  socket_pair pair;
  eddy::readiness near(loop, pair.near());
  {
    const eddy::keep_alive work(loop);
    near.wait_readable([&](std::error_code) { note("work"); });
    pair.send();
    loop.run_once();
    CHECK_FALSE(loop.run_ready());
    CHECK(note == "work");
  }
  loop.run();
  CHECK(note == "work timer");
}
