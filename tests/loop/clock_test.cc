// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/clock.h>.
#include <eddy/loop/clock.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <deque>
#include <ratio>
#include <string>

#include <doctest/doctest.h>

#include <eddy/loop/readiness.h>
#include <eddy/loop/timer.h>
#include <eddy/loop/work_guard.h>

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

TEST_CASE_FIXTURE(with_still_loop, "a timer on a clock that stands still keeps no loop running") {
  eddy::timer timer(loop);
  timer.start(1ns, [] { FAIL("nothing is due"); });

  loop.run();
  loop.run_once();
  CHECK_FALSE(loop.run_ready());
  CHECK(loop.next_run() == 1ns);
}

TEST_CASE_FIXTURE(with_still_loop,
                  "now does not change during a turn, even if the clock is moved") {
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

TEST_CASE_FIXTURE(with_jumping_loop, "the clock jumps to the deadline that a timer was moved to") {
  const auto start = clock.now();
  eddy::timer timer(loop);
  timer.start(1h, [&] { CHECK(clock.now() == start + 3h); });
  timer.restart(3h);

  loop.run();
  CHECK(clock.now() == start + 3h);
}

TEST_CASE_FIXTURE(with_jumping_loop, "a ready descriptor runs before the clock jumps") {
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

TEST_CASE_FIXTURE(with_jumping_loop,
                  "during a wait for a descriptor the clock jumps to its time limit") {
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

TEST_CASE_FIXTURE(with_jumping_loop, "the clock does not jump while a work_guard exists") {
  journal note;
  eddy::timer timer(loop);
  timer.start(1h, [&] { note("timer"); });
  socket_pair pair;
  eddy::readiness near(loop, pair.near());
  {
    const eddy::work_guard work(loop);
    near.wait_readable([&](std::error_code) { note("work"); });
    pair.send();
    loop.run_once();
    CHECK_FALSE(loop.run_ready());
    CHECK(note == "work");
  }
  loop.run();
  CHECK(note == "work timer");
}

// ---- Times at their edges

namespace {

using eddy::duration;
using eddy::instant;
using eddy::time_point;
using eddy::time_span;

constexpr duration longest = duration::max();
constexpr duration shortest = duration::min();

// For each unit: a length that is too long becomes the longest, and never wraps around.
static_assert(duration(time_span(std::chrono::nanoseconds(5))) == 5ns);
static_assert(duration(time_span(std::chrono::hours::max())) == longest);
static_assert(duration(time_span(std::chrono::hours::min())) == shortest);
static_assert(duration(time_span(std::chrono::seconds::max())) == longest);
static_assert(duration(time_span(std::chrono::milliseconds::min())) == shortest);
static_assert(duration(time_span(std::chrono::nanoseconds::max())) == longest);
static_assert(duration(time_span(std::chrono::duration<int, std::pico>(1999))) == 1ns);
static_assert(duration(time_span(std::chrono::duration<unsigned long, std::giga>(~0UL))) ==
              longest);
static_assert(duration(time_span(std::chrono::duration<double>(0.5))) == 500ms);
static_assert(duration(time_span(std::chrono::duration<double>(1e300))) == longest);
static_assert(duration(time_span(std::chrono::duration<double>(-1e300))) == shortest);
static_assert(duration(time_span(std::chrono::duration<float>(INFINITY))) == longest);
static_assert(duration(time_span(std::chrono::duration<float>(-INFINITY))) == shortest);

using of_seconds = std::chrono::time_point<std::chrono::steady_clock, std::chrono::seconds>;
static_assert(time_point(instant(of_seconds(3s))) == time_point(3s));
static_assert(time_point(instant(of_seconds::max())) == time_point::max());
static_assert(time_point(instant(of_seconds::min())) == time_point::min());

static_assert(eddy::detail::plus(time_point::max(), 1ns) == time_point::max());
static_assert(eddy::detail::plus(time_point::min(), -1ns) == time_point::min());
static_assert(eddy::detail::plus(time_point(1ns), longest) == time_point::max());
static_assert(eddy::detail::between(time_point::min(), time_point::max()) == longest);
static_assert(eddy::detail::between(time_point::max(), time_point::min()) == shortest);
static_assert(eddy::detail::between(time_point(1s), time_point(3s)) == 2s);
static_assert(eddy::detail::times(1s, UINT64_MAX) == longest);
static_assert(eddy::detail::times(-1s, UINT64_MAX) == shortest);
static_assert(eddy::detail::times(3s, 2) == 6s);

}  // namespace

TEST_CASE("a NaN is a duration of zero") {
  CHECK(duration(time_span(std::chrono::duration<float>(NAN))) == 0ns);
}

TEST_CASE_FIXTURE(with_still_loop, "a clock that is moved too far stops at the latest time") {
  clock.advance(std::chrono::hours::min());
  CHECK(clock.now() == time_point(1h));
  clock.advance(std::chrono::hours::max());
  CHECK(clock.now() == time_point::max());
  clock.advance(1ns);
  CHECK(clock.now() == time_point::max());
  CHECK(loop.now() == time_point::max());
  CHECK(loop.after(1s) == time_point::max());
  CHECK(loop.after(std::chrono::hours::min()) == time_point::max());
}

TEST_CASE_TEMPLATE("a timer accepts any time: past times are due, far times wait", Loop, with_loop,
                   with_still_loop) {
  Loop on;
  journal note;
  std::deque<eddy::timer> all;
  const auto add = [&](std::string name) -> eddy::timer& {
    eddy::timer& t = all.emplace_back(on.loop);
    t.start(1h, [&note, name] { note(name); });
    return t;
  };
  add("min").restart(duration::min());
  add("zero").restart(0s);
  add("negative").restart(-1h);
  add("far").restart(duration::max());
  add("hours").restart(std::chrono::hours::max());
  add("two hundred years").restart(std::chrono::years(200));
  add("nothing").restart(std::chrono::duration<double>(NAN));
  const auto at = [&](std::string name, auto when) {
    all.emplace_back(on.loop).start_at(when, [&note, name] { note(name); });
  };
  at("before time", time_point::min());
  at("epoch", time_point());
  at("end of time", time_point::max());
  at("end of seconds", of_seconds::max());

  while (on.loop.run_ready()) {
  }
  // By deadline, and then in the order in which they were started.
  CHECK(note == "before time epoch min zero negative nothing");
  CHECK(on.loop.count().timers == 5);
  CHECK(*on.loop.next_run() > 24h * 365);
}

TEST_CASE_FIXTURE(with_jumping_loop, "a clock never jumps to the end of time") {
  const eddy::time_point start = clock.now();
  eddy::timer never(loop);
  never.start(eddy::duration::max(), [] { FAIL("it came"); });
  eddy::timer moved(loop);
  moved.start(1h, [] { FAIL("it came"); });
  moved.restart(std::chrono::hours::max());
  eddy::timer seldom(loop);
  int ticks = 0;
  seldom.start_every(std::chrono::years(100), [&] { ++ticks; });
  loop.run();
  CHECK(ticks <= 3);
  CHECK(clock.now() < eddy::time_point::max());
  CHECK(clock.now() > start);
}

TEST_CASE_FIXTURE(with_still_loop,
                  "a timer that was due and moves to later keeps no loop running") {
  eddy::timer moved(loop);
  moved.start(0ms, [] { FAIL("it came"); });
  moved.restart(7ms);
  loop.run();
  moved.start(0ms, [] { FAIL("it came"); });
  moved.restart(7ms);
  loop.run_once();
  clock.advance(6ms);
  loop.run();
  CHECK(moved.active());
}

TEST_CASE_FIXTURE(with_jumping_loop, "a timer that moves from now to never keeps no loop running") {
  eddy::timer moved(loop);
  moved.start(0ms, [] { FAIL("it came"); });
  moved.restart(eddy::duration::max());
  loop.run();
  CHECK(moved.active());
}

TEST_CASE("a length of time may be in any unit") {
  const auto span = [](auto d) { return eddy::duration(eddy::time_span(d)); };
  using teras = std::chrono::duration<std::int64_t, std::tera>;
  using exas = std::chrono::duration<double, std::exa>;
  using attos = std::chrono::duration<std::int64_t, std::atto>;
  CHECK(span(teras(1)) == eddy::duration::max());
  CHECK(span(teras(-1)) == eddy::duration::min());
  CHECK(span(teras(0)) == 0ns);
  CHECK(span(exas(1e-18)) == 1s);
  CHECK(span(exas(-1)) == eddy::duration::min());
  CHECK(span(attos(1'000'000'000)) == 1ns);
  CHECK(span(std::chrono::duration<double, std::milli>(1)) == 1ms);
  CHECK(span(std::chrono::duration<double, std::micro>(7)) == 7us);
  CHECK(span(std::chrono::duration<float, std::ratio<60>>(1)) == 1min);
  CHECK(span(attos(-999'999'999)) == 0ns);
}

TEST_CASE_FIXTURE(with_still_loop, "the time after a negative delay is now") {
  CHECK(loop.after(-1h) == clock.now());
  CHECK(loop.after(1h) == clock.now() + 1h);
}
