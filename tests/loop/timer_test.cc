// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/timer.h>.
#include <eddy/loop/timer.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/loop_handle.h>
#include <eddy/loop/readiness.h>

#include "support/any_loop.h"
#include "support/asleep.h"
#include "support/counted.h"
#include "support/forked.h"
#include "support/journal.h"
#include "support/sanitized.h"
#include "support/socket_pair.h"
#include "support/tidy.h"

using namespace std::chrono_literals;
using std::chrono::steady_clock;

static_assert(std::is_nothrow_move_constructible_v<eddy::timer>);
static_assert(!std::is_copy_constructible_v<eddy::timer>);

namespace {

/// Keeps a thread from its loop.
void work_for(eddy::duration time) {
  const auto end = steady_clock::now() + time;
  while (steady_clock::now() < end) {
  }
}

}  // namespace

#if !SANITIZED
static int timers_set = 0;  // how often the kernel was asked to

extern "C" int timerfd_settime(int timer, int flags, const struct itimerspec* when,
                               struct itimerspec* before) noexcept {
  ++timers_set;
  return static_cast<int>(::syscall(SYS_timerfd_settime, timer, flags, when, before));
}
#endif

TEST_CASE_TEMPLATE("a timer never fires early", Loop, ANY_LOOP) {
  Loop on;
  for (const auto exactness : {eddy::resolution::millisecond, eddy::resolution::fine}) {
    for (const auto delay : {0us, 100us, 1000us, 2500us}) {
      const auto start = steady_clock::now();
      std::optional<eddy::time_point> rang;
      eddy::timer timer(on.loop);
      timer.start(delay, [&] { rang = steady_clock::now(); }, exactness);
      CHECK_FALSE(rang);
      on.run();
      REQUIRE(rang);
      CHECK(*rang - start >= delay);
      CHECK_FALSE(timer.active());
    }
  }
}

TEST_CASE_TEMPLATE("timers fire by deadline, and in the order of starting among equals", Loop,
                   ANY_LOOP) {
  Loop on;
  journal note;
  const auto when = steady_clock::now() + 2ms;
  std::vector<eddy::timer> timers;
  for (int i = 0; i < 10; ++i) {
    timers.emplace_back(on.loop).start_at(when, [&note, i] { note(i); });
  }
  timers.emplace_back(on.loop).start_at(when - 1ms, [&note] { note("first"); });

  on.run();
  CHECK(note == "first 0 1 2 3 4 5 6 7 8 9");
}

TEST_CASE_FIXTURE(with_jumping_loop, "a timer that is started again is the last among equals") {
  journal note;
  const auto when = clock.now() + 1s;
  eddy::timer a(loop);
  eddy::timer b(loop);
  eddy::timer c(loop);
  a.start_at(when, [&] { note("a"); });
  b.start_at(when, [&] { note("b"); });
  c.start_at(when, [&] { note("c"); });

  SUBCASE("at the same time") {
    a.start_at(when, [&] { note("a"); });
  }
  SUBCASE("to a later time and back") {
    a.restart(5s);
    a.restart(1s);
  }
  SUBCASE("to an earlier time and back") {
    a.restart(1ms);
    a.restart(1s);
  }
  loop.run();
  CHECK(note == "b c a");
}

TEST_CASE_FIXTURE(with_jumping_loop, "restart moves the deadline and keeps the handler") {
  const auto start = clock.now();
  std::optional<eddy::time_point> rang;
  eddy::timer timer(loop);
  timer.start(10s, [&] { rang = clock.now(); });

  SUBCASE("later") {
    timer.restart(20s);
    CHECK(timer.deadline() == start + 20s);
    loop.run();
    CHECK(rang == start + 20s);
  }
  SUBCASE("earlier") {
    timer.restart(5s);
    loop.run();
    CHECK(rang == start + 5s);
  }
  SUBCASE("repeatedly, as an idle timeout") {
    eddy::timer traffic(loop);
    int messages = 0;
    traffic.start_every(9s, [&] {
      timer.restart(10s);
      if (++messages == 100) traffic.stop();
    });
    loop.run();
    CHECK(rang == start + 900s + 10s);
  }
}

TEST_CASE_FIXTURE(with_jumping_loop, "a timer's handler may use the timer") {
  journal note;
  auto timer = std::make_unique<eddy::timer>(loop);

  SUBCASE("destroy it") {
    timer->start(1s, [&] {
      timer.reset();
      note("destroyed");
    });
    loop.run();
    CHECK(note == "destroyed");
  }
  SUBCASE("destroy it while it repeats") {
    timer->start_every(1s, [&] {
      timer.reset();
      note("destroyed");
    });
    loop.run();
    CHECK(note == "destroyed");
  }
  SUBCASE("restart it") {
    int runs = 0;
    timer->start(1s, [&] {
      note(++runs);
      if (runs < 3) timer->restart(1s);
    });
    loop.run();
    CHECK(note == "1 2 3");
  }
  SUBCASE("start it with another handler") {
    timer->start(1s, [&] {
      note("one");
      timer->start(1s, [&] { note("two"); });
    });
    loop.run();
    CHECK(note == "one two");
  }
  SUBCASE("stop it while it repeats") {
    timer->start_every(1s, [&] {
      note("once");
      timer->stop();
    });
    loop.run();
    CHECK(note == "once");
  }
  SUBCASE("move it while it repeats") {
    int runs = 0;
    timer->start_every(1s, [&] {
      note(++runs);
      if (runs == 3) return timer->stop();
      timer = std::make_unique<eddy::timer>(std::move(*timer));
    });
    loop.run();
    CHECK(note == "1 2 3");
  }
  SUBCASE("throw") {
    timer->start_every(1s, [&] {
      note("thrown");
      throw std::runtime_error("no");
    });
    CHECK_THROWS_AS(loop.run(), std::runtime_error);
    CHECK(timer->active());
    CHECK_THROWS_AS(loop.run(), std::runtime_error);
    CHECK(note == "thrown thrown");
  }
}

TEST_CASE_FIXTURE(with_still_loop, "a stopped timer does not fire, even if it was due") {
  journal note;
  eddy::timer first(loop);
  auto second = std::make_unique<eddy::timer>(loop);
  eddy::timer third(loop);
  first.start(0s, [&] {
    note("first");
    second.reset();
    third.stop();
  });
  second->start(0s, [&] { note("second"); });
  third.start(0s, [&] { note("third"); });

  loop.run();
  CHECK(note == "first");
}

TEST_CASE_FIXTURE(with_still_loop, "stopping a timer destroys its handler") {
  int alive = 0;
  SUBCASE("which owns an object") {
    eddy::timer timer(loop);
    timer.start(1s, [c = counted(alive)] {});
    CHECK(alive == 1);
    timer.stop();
    CHECK(alive == 0);
    timer.start(1s, [c = counted(alive)] {});
    timer.start(1s, [] {});
    CHECK(alive == 0);
    timer.stop();
  }
  SUBCASE("which owns the timer itself") {
    auto owned =
        std::make_shared<std::pair<counted, eddy::timer>>(counted(alive), eddy::timer(loop));
    eddy::timer& timer = owned->second;
    timer.start(1s, [owned] {});
    owned.reset();
    CHECK(alive == 1);
    timer.stop();
    CHECK(alive == 0);
  }
  SUBCASE("which owns the timer itself, by a new handler") {
    auto owned =
        std::make_shared<std::pair<counted, eddy::timer>>(counted(alive), eddy::timer(loop));
    eddy::timer& timer = owned->second;
    timer.start(1s, [owned] {});
    owned.reset();
    timer.start(1s, [] {});
    CHECK(alive == 0);
  }
  SUBCASE("after the timer has fired") {
    eddy::timer timer(loop);
    timer.start(0s, [c = counted(alive)] {});
    loop.run();
    CHECK(alive == 0);
  }
}

TEST_CASE_FIXTURE(with_still_loop, "a repeating timer does not drift") {
  const auto start = clock.now();
  std::vector<eddy::duration> deadlines;
  eddy::timer timer(loop);
  timer.start_every(10ms, [&] {
    deadlines.push_back(timer.deadline() - start);
    CHECK(timer.missed() == 0);
    clock.advance(3ms);  // a slow handler
  });

  for (int i = 0; i < 4; ++i) {
    clock.advance_to(timer.deadline());
    loop.run_ready();
  }
  timer.stop();
  CHECK(deadlines == std::vector<eddy::duration>{20ms, 30ms, 40ms, 50ms});
}

TEST_CASE_FIXTURE(with_still_loop, "a loop that was late reports missed ticks in one call") {
  const auto start = clock.now();
  journal note;
  eddy::timer timer(loop);
  timer.start_every(10ms, [&] { note(timer.missed()); });

  SUBCASE("by less than a tick") {
    clock.advance(19ms);
    loop.run();
    CHECK(note == "0");
    CHECK(timer.deadline() == start + 20ms);
  }
  SUBCASE("by several") {
    clock.advance(55ms);
    loop.run();
    CHECK(note == "4");
    CHECK(timer.deadline() == start + 60ms);
    clock.advance(5ms);
    loop.run();
    CHECK(note == "4 0");
  }
  SUBCASE("by exactly one") {
    clock.advance(20ms);
    loop.run();
    CHECK(note == "1");
    CHECK(timer.deadline() == start + 30ms);
  }
  timer.stop();
}

TEST_CASE_TEMPLATE("no timer is early after work that made the loop late", Loop, ANY_LOOP) {
  Loop on;
  eddy::timer timer(on.loop);
  eddy::time_point started{};
  on.loop.defer([&] {
    work_for(10ms);
    started = steady_clock::now();
    timer.start(5ms, [&] { CHECK(steady_clock::now() - started >= 5ms); });
    CHECK(timer.deadline() >= started + 5ms);
  });
  on.run();
  CHECK(steady_clock::now() - started >= 5ms);
}

TEST_CASE_TEMPLATE("equal delays of one turn have equal deadlines, and fire in order", Loop,
                   ANY_LOOP) {
  Loop on;
  journal note;
  eddy::timer a(on.loop);
  eddy::timer b(on.loop);
  eddy::timer c(on.loop);
  eddy::time_point last{};
  c.start(10s, [&] { note("c"); });
  on.loop.defer([&] {
    a.start(3ms, [&] { note("a"); });
    work_for(1ms);
    c.restart(3ms);
    last = steady_clock::now();
    b.start(3ms, [&] { note("b"); });
  });
  on.loop.defer([&] {
    on.loop.defer([&] {  // in the next turn
      CHECK(a.deadline() >= last + 3ms);
      CHECK(a.deadline() == b.deadline());
      CHECK(a.deadline() == c.deadline());
    });
  });

  on.run();
  CHECK(note == "a c b");
}

TEST_CASE_FIXTURE(with_loop, "a delay may be changed in the turn that started it") {
  journal note;
  eddy::timer a(loop);
  std::optional<eddy::timer> b(std::in_place, loop);
  eddy::timer c(loop);
  a.start(10s, [&] { note("a"); });
  std::optional<eddy::timer> moved;
  const auto in_turn = [&](auto change) {
    loop.defer([&, change] {
      a.restart(2ms);
      b->start(2ms, [&] { note("b"); });
      c.start(2ms, [&] { note("c"); });
      change();
    });
    loop.run();
  };

  SUBCASE("by a restart") {
    in_turn([&] {
      a.restart(2ms);
      b->restart(2ms);
    });
    CHECK(note == "c a b");
  }
  SUBCASE("by a longer delay and a shorter delay") {
    in_turn([&] {
      a.restart(4ms);
      c.restart(1ms);
    });
    CHECK(note == "c b a");
  }
  SUBCASE("by a time") {
    in_turn([&] { c.start_at(steady_clock::now(), [&] { note("now"); }); });
    CHECK(note == "now a b");
  }
  SUBCASE("by a fine delay") {
    in_turn([&] { c.start(0s, [&] { note("fine"); }, eddy::resolution::fine); });
    CHECK(note == "fine a b");
  }
  SUBCASE("by a stop") {
    in_turn([&] {
      a.stop();
      c.stop();
    });
    CHECK(note == "b");
  }
  SUBCASE("by a stop and a start") {
    in_turn([&] {
      a.stop();
      a.start(2ms, [&] { note("a again"); });
    });
    CHECK(note == "b c a again");
  }
  SUBCASE("by the destructor") {
    in_turn([&] { b.reset(); });
    CHECK(note == "a c");
  }
  SUBCASE("and the timer object moved") {
    in_turn([&] {
      moved.emplace(std::move(*b));
      b.reset();
    });
    CHECK(note == "a b c");
  }
}

TEST_CASE_FIXTURE(with_loop, "the deadline of a delay is known when deadline is called") {
  eddy::timer first(loop);
  eddy::timer second(loop);
  loop.defer([&] {
    first.start(2ms, [] {});
    const auto called = steady_clock::now();
    work_for(1ms);
    const auto deadline = first.deadline();
    CHECK(deadline >= called + 3ms);

    work_for(1ms);
    second.start(2ms, [] {});
    CHECK(first.deadline() == deadline);
    CHECK(second.deadline() >= deadline + 1ms);
  });
  loop.run();
}

TEST_CASE_FIXTURE(with_loop, "a delay counts on while its loop does not run") {
  bool rang = false;
  eddy::timer timer(loop);
  bool throws = false;
  loop.defer([&] {
    timer.start(50ms, [&] { rang = true; });
    if (throws) throw 1;
  });
  SUBCASE("after a turn") { loop.run_ready(); }
  SUBCASE("after a turn that an exception ended") {
    throws = true;
    CHECK_THROWS(loop.run_ready());
  }
  CHECK(*loop.next_run() > 0s);
  work_for(51ms);
  CHECK(loop.next_run() == 0s);
  loop.run_ready();
  CHECK(rang);
}

TEST_CASE_FIXTURE(with_loop, "a handler may start a timer of another loop that is not running") {
  eddy::event_loop other;
  eddy::timer timer(other);
  loop.defer([&] {
    timer.start(1ms, [] {});
    work_for(2ms);
    CHECK(other.next_run() == 0s);
  });
  loop.run();
  timer.stop();
}

TEST_CASE_FIXTURE(with_loop, "a timer with a delay of zero or less fires in the next turn") {
  journal note;
  eddy::timer zero(loop);
  eddy::timer negative(loop);
  eddy::timer past(loop);
  zero.start(0s, [&] { note("zero"); });
  negative.start(-5s, [&] { note("negative"); });
  past.start_at(eddy::time_point::min(), [&] { note("past"); });

  loop.run_ready();
  CHECK(note == "past zero negative");
}

TEST_CASE_FIXTURE(with_jumping_loop, "a timer that restarts itself with no delay lets others run") {
  journal note;
  int left = 3;
  eddy::timer timer(loop);
  timer.start(0s, [&] {
    note("timer");
    if (--left != 0) timer.restart(0s);
  });
  loop.defer([&] {
    note("deferred");
    loop.defer([&] { note("again"); });
  });
  loop.run();
  CHECK(note == "timer deferred again timer timer");
}

TEST_CASE_FIXTURE(with_loop, "the longest delay neither fires nor overflows") {
  eddy::timer timer(loop);
  timer.start(eddy::duration::max(), [] { FAIL("rang"); });
  CHECK(timer.deadline() == eddy::time_point::max());
  loop.run_ready();
  timer.start(eddy::duration::max(), [] { FAIL("rang"); }, eddy::resolution::fine);
  eddy::timer other(loop);
  other.start(1ms, [&] { timer.stop(); });
  loop.run();
  CHECK_FALSE(timer.active());
}

TEST_CASE_TEMPLATE("a fine timer is not rounded up to milliseconds", Loop, ANY_LOOP) {
  // The best of many, because a busy machine makes single timers late.
  Loop on;
  eddy::duration best = 1h;
  eddy::timer timer(on.loop);
  for (int i = 0; i < 50; ++i) {
    const auto start = steady_clock::now();
    timer.start(
        50us, [&] { best = std::min<eddy::duration>(best, steady_clock::now() - start); },
        eddy::resolution::fine);
    on.run();
  }
  CHECK(best < 1ms);
}

TEST_CASE_FIXTURE(with_jumping_loop, "a timer in the background does not keep its loop running") {
  eddy::timer timer(loop);
  timer.background(true);
  timer.start(1s, [] { FAIL("nothing else keeps the loop"); });
  loop.run();
  CHECK(timer.active());
}

TEST_CASE_FIXTURE(with_jumping_loop, "a timer can be moved while it runs") {
  journal note;
  eddy::timer first(loop);
  first.start_every(1s, [&] { note("tick"); });
  eddy::timer second(std::move(first));
  CHECK_FALSE(first.active());
  CHECK(second.active());

  loop.run_once();
  second.stop();
  CHECK(note == "tick");
}

TEST_CASE("a period that is not more than zero aborts") {
  const tidy leaves_nothing;
  dies_saying("a period that is not more than zero", [] {
    eddy::event_loop loop;
    eddy::timer timer(loop);
    timer.start_every(0s, [] {});
  });
}

TEST_CASE("restarting a timer that is not active aborts") {
  const tidy leaves_nothing;
  dies_saying("restart was called on a timer that is not active", [] {
    eddy::event_loop loop;
    eddy::timer timer(loop);
    timer.restart(1s);
  });
}

TEST_CASE("destroying a loop before its timer aborts") {
  const tidy leaves_nothing;
  dies_saying("1 timers set", [] {
    std::optional<eddy::event_loop> loop(std::in_place);
    eddy::timer timer(*loop);
    timer.start(1s, [] {});
    loop.reset();
  });
}

TEST_CASE_FIXTURE(with_still_loop, "a timer that is started again has missed no tick") {
  eddy::timer timer(loop);
  timer.start_every(1s, [] {});
  clock.advance(4s);
  loop.run_ready();
  REQUIRE(timer.missed() == 3);
  timer.start(1s, [] {});
  CHECK(timer.missed() == 0);
  timer.stop();
}

TEST_CASE_FIXTURE(with_loop, "a timer fires even if the last wait was for a later deadline") {
  eddy::timer later(loop);
  later.start(1h, [] {});
  std::thread waker([remote = loop.handle(), runner = ::gettid()] {
    wait_until_asleep(runner);
    remote.post([] {});
  });
  loop.run_once();
  waker.join();
  eddy::timer timer(loop);
  timer.start(1ms, [&] { later.stop(); });
  ::alarm(20);
  loop.run();
  ::alarm(0);
  CHECK_FALSE(later.active());
}

TEST_CASE_FIXTURE(with_jumping_loop, "a moved timer stays in the background") {
  bool rang = false;
  eddy::timer first(loop);
  first.background(true);
  first.start(1s, [&] { rang = true; });
  eddy::timer second(std::move(first));
  loop.run();
  CHECK_FALSE(rang);
  second.background(false);
  loop.run();
  CHECK(rang);
}

TEST_CASE_TEMPLATE("a due timer may be started again by a timer before it", Loop, ANY_LOOP) {
  Loop on;
  eddy::timer first(on.loop);
  eddy::timer second(on.loop);
  bool wrong = false;
  first.start(0s, [&] { second.start(1h, [&] { wrong = true; }); });
  second.start(0s, [&] { wrong = true; });
  on.loop.run_ready();
  on.loop.run_ready();
  CHECK_FALSE(wrong);
  CHECK(second.active());
  second.stop();
}

#if !SANITIZED
TEST_CASE_FIXTURE(with_loop,
                  "a wait sets the kernel's timer only if the first deadline is nearer") {
  socket_pair pair;
  eddy::readiness near(loop, pair.near());
  eddy::timer idle(loop);
  idle.start(1h, [] {});
  const auto message = [&] {
    near.wait_readable([&](std::error_code) {
      static_cast<void>(pair.receive());
      idle.restart(1h);
    });
    pair.send();
    loop.run_once();
  };
  message();  // is found by the loop's first look, which is no wait
  message();
  const int before = timers_set;
  for (int i = 0; i < 100; ++i) message();
  CHECK(timers_set == before);
}
#endif
