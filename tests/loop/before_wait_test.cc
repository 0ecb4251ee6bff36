// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/before_wait.h>.
#include <eddy/loop/before_wait.h>

#include <chrono>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer.h>

#include "support/any_loop.h"
#include "support/counted.h"
#include "support/forked.h"
#include "support/journal.h"
#include "support/tidy.h"

using namespace std::chrono_literals;

static_assert(std::is_nothrow_move_constructible_v<eddy::before_wait>);
static_assert(!std::is_copy_constructible_v<eddy::before_wait>);

TEST_CASE_TEMPLATE("a before_wait is called after everything that is ready", Loop, ANY_LOOP) {
  Loop on;
  journal note;
  eddy::before_wait hook(on.loop);
  hook.start_once([&] { note("hook"); });
  CHECK(hook.active());
  on.loop.defer([&] {
    note("a");
    on.loop.defer([&] { note("c"); });
  });
  on.loop.post([&] { note("b"); });
  on.run();
  CHECK(note == "b a c hook");
  CHECK_FALSE(hook.active());
}

TEST_CASE_TEMPLATE("a loop calls a before_wait that was started before run, and ends", Loop,
                   ANY_LOOP) {
  Loop on;
  int calls = 0;
  eddy::before_wait hook(on.loop);
  hook.start([&] { ++calls; });
  on.run();
  CHECK(calls >= 1);  // a loop with watchers of others makes one turn more
  const int before = calls;
  on.loop.defer([] {});
  on.run();
  CHECK(calls > before);
}

TEST_CASE_TEMPLATE("a before_wait is called before the loop waits for a timer", Loop, ANY_LOOP) {
  Loop on;
  journal note;
  eddy::before_wait hook(on.loop);
  eddy::timer timer(on.loop);
  timer.start(1ms, [&] { note("timer"); });
  hook.start([&] { note("hook"); });
  on.run();
  CHECK(note.text().starts_with("hook timer hook"));
}

TEST_CASE_TEMPLATE("work that a before_wait makes ready runs, and the hook is called again", Loop,
                   ANY_LOOP) {
  Loop on;
  journal note;
  eddy::before_wait hook(on.loop);
  int calls = 0;
  hook.start([&] {
    note("hook");
    if (++calls == 1) on.loop.defer([&] { note("work"); });
  });
  on.run();
  CHECK(note.text().starts_with("hook work hook"));
}

TEST_CASE_TEMPLATE("a before_wait that a libev callback starts is called in that turn", Loop,
                   hosted_loop, adopted_loop, program_run_loop) {
  Loop on;
  journal note;
  eddy::before_wait hook(on.loop);
  struct both {
    eddy::before_wait& hook;
    journal& note;
  } all{hook, note};
  const auto ring = [](struct ev_loop*, ev_timer* t, int) {
    auto& [to_start, to_note] = *static_cast<both*>(t->data);
    to_note("timer");
    to_start.start_once([&to_note] { to_note("hook"); });
  };
  ev_timer timer;
  ev_timer_init(&timer, ring, 0.001, 0.);
  timer.data = &all;
  ev_timer_start(on.loop.native(), &timer);
  on.run();
  CHECK(note == "timer hook");
}

TEST_CASE_TEMPLATE("a before_wait wakes no loop that it does not keep alive", Loop, ANY_LOOP) {
  Loop on;
  int calls = 0;
  eddy::before_wait hook(on.loop);
  std::function<void()> again = [&] {
    ++calls;
    hook.start_once(again);  // in the same round: the next turn calls it
  };
  hook.start_once(again);
  on.run();
  CHECK(calls >= 1);
  CHECK(calls <= 3);
  CHECK(hook.active());
}

TEST_CASE_FIXTURE(with_still_loop, "before_waits are called in the order in which they started") {
  journal note;
  eddy::before_wait a(loop);
  eddy::before_wait b(loop);
  eddy::before_wait c(loop);
  b.start([&] { note("b"); });
  a.start([&] { note("a"); });
  c.start_once([&] { note("c"); });
  b.start([&] { note("B"); });  // keeps its position
  loop.run_ready();
  loop.run_ready();
  CHECK(note == "B a c B a");
}

TEST_CASE_FIXTURE(with_still_loop, "a before_wait that a hook starts is called in the same turn") {
  journal note;
  eddy::before_wait a(loop);
  eddy::before_wait b(loop);
  a.start_once([&] {
    note("a");
    b.start_once([&] { note("b"); });
  });
  loop.run_ready();
  CHECK(note == "a b");
}

TEST_CASE_FIXTURE(with_still_loop,
                  "two before_waits that start each other are called once a turn") {
  journal note;
  eddy::before_wait a(loop);
  eddy::before_wait b(loop);
  std::function<void()> start_a;
  std::function<void()> start_b = [&] {
    note("a");
    b.start_once([&] { start_a(); });
  };
  start_a = [&] {
    note("b");
    a.start_once([&] { start_b(); });
  };
  a.start_once([&] { start_b(); });
  CHECK(loop.run_ready());  // there is work left
  CHECK(note == "a b");
  CHECK(loop.next_run() == 0s);
  loop.run_ready();
  CHECK(note == "a b a b");
}

TEST_CASE_FIXTURE(with_still_loop, "a before_wait that runs is no work that run_ready reports") {
  eddy::before_wait hook(loop);
  hook.start([] {});
  CHECK_FALSE(loop.run_ready());
  CHECK_FALSE(loop.run_ready());
  CHECK_FALSE(loop.next_run());
}

TEST_CASE_FIXTURE(with_still_loop, "run_ready reports work that a before_wait makes ready") {
  eddy::before_wait hook(loop);
  bool ran = false;
  hook.start_once([&] { loop.defer([&] { ran = true; }); });
  CHECK(loop.run_ready());
  CHECK_FALSE(ran);
  CHECK(loop.run_ready());
  CHECK(ran);
}

TEST_CASE_FIXTURE(with_loop, "a stopped before_wait is not called, and its handler is destroyed") {
  int alive = 0;
  eddy::before_wait hook(loop);
  hook.start([c = counted(alive)] { FAIL("it was stopped"); });
  CHECK(alive == 1);
  hook.stop();
  CHECK(alive == 0);
  CHECK_FALSE(hook.active());
  hook.stop();
  loop.run();
}

TEST_CASE_FIXTURE(with_loop, "a before_wait may stop, restart and destroy itself") {
  journal note;
  eddy::before_wait stops(loop);
  stops.start([&] {
    note("stops");
    stops.stop();
  });
  eddy::before_wait restarts(loop);
  restarts.start([&] {
    note("old");
    restarts.start([&] {
      note("new");
      restarts.stop();
    });
  });
  auto dies = std::make_unique<eddy::before_wait>(loop);
  dies->start([&] {
    note("dies");
    dies.reset();
  });
  for (int i = 0; i < 3; ++i) loop.run_ready();
  CHECK(note == "stops old dies new");
  CHECK_FALSE(stops.active());
  CHECK_FALSE(restarts.active());
}

TEST_CASE_FIXTURE(with_loop, "the captures of a before_wait may own it") {
  auto owner = std::make_shared<std::optional<eddy::before_wait>>(std::in_place, loop);
  (*owner)->start([owner] {});
  eddy::before_wait& hook = **owner;
  owner.reset();
  loop.run_ready();
  hook.stop();  // destroys the last owner
}

TEST_CASE_FIXTURE(with_loop, "a before_wait may be destroyed by another one before its call") {
  journal note;
  eddy::before_wait first(loop);
  std::optional<eddy::before_wait> second(std::in_place, loop);
  eddy::before_wait third(loop);
  first.start_once([&] {
    note("first");
    second.reset();
  });
  second->start([&] { note("second"); });
  third.start_once([&] { note("third"); });
  loop.run_ready();
  CHECK(note == "first third");
}

TEST_CASE_FIXTURE(with_loop, "an active before_wait may be moved, also by its own handler") {
  journal note;
  eddy::before_wait first(loop);
  std::optional<eddy::before_wait> second;
  first.start([&] {
    note("call");
    if (!second) second.emplace(std::move(first));
  });
  loop.run_ready();
  REQUIRE(second);
  CHECK_FALSE(first.active());
  CHECK(second->active());
  loop.run_ready();
  CHECK(note == "call call");
  second.reset();
  loop.run_ready();
  CHECK(note == "call call");
}

TEST_CASE_FIXTURE(with_loop, "a before_wait that is called once destroys its handler then") {
  int alive = 0;
  int calls = 0;
  eddy::before_wait hook(loop);
  hook.start_once([&, c = counted(alive)] { ++calls; });
  loop.run_ready();
  CHECK(calls == 1);
  CHECK(alive == 0);
}

TEST_CASE_FIXTURE(with_loop, "a before_wait that is to be called once may be moved before") {
  int calls = 0;
  eddy::before_wait first(loop);
  first.start_once([&] { ++calls; });
  const eddy::before_wait second(std::move(first));
  loop.run_ready();
  CHECK_FALSE(second.active());
  loop.run_ready();
  CHECK(calls == 1);
}

TEST_CASE_FIXTURE(with_loop, "a before_wait that moves and restarts in its call waits a turn") {
  int calls = 0;
  eddy::before_wait first(loop);
  std::optional<eddy::before_wait> second;
  first.start_once([&] {
    ++calls;
    second.emplace(std::move(first));
    second->start_once([&] { ++calls; });
  });
  loop.run_ready();
  CHECK(calls == 1);
  loop.run_ready();
  CHECK(calls == 2);
}

TEST_CASE_FIXTURE(with_loop, "stop ends the turn before the hooks, and the next turn calls them") {
  int calls = 0;
  eddy::before_wait hook(loop);
  eddy::timer never(loop);
  never.start(1h, [] {});
  hook.start([&] {
    ++calls;
    if (calls == 1) loop.stop();
  });
  loop.defer([&] { loop.stop(); });
  loop.run();
  CHECK(calls == 0);
  loop.run();  // does not wait for an hour first
  CHECK(calls == 1);
}

TEST_CASE_FIXTURE(with_loop, "an exception of a before_wait leaves run, and loses no other hook") {
  journal note;
  eddy::before_wait first(loop);
  eddy::before_wait second(loop);
  first.start([&] {
    note("first");
    throw std::runtime_error("of a hook");
  });
  second.start_once([&] { note("second"); });
  CHECK_THROWS_WITH(loop.run(), "of a hook");
  CHECK(note == "first");
  CHECK(first.active());
  CHECK(second.active());
  first.stop();
  loop.run();
  CHECK(note == "first second");
}

TEST_CASE_FIXTURE(with_loop, "an exception of a handler delays the hooks to the next turn") {
  int calls = 0;
  eddy::before_wait hook(loop);
  eddy::timer never(loop);
  never.start(1h, [] {});
  hook.start([&] {
    ++calls;
    if (calls == 2) loop.stop();
  });
  loop.run_ready();
  CHECK(calls == 1);
  loop.defer([] { throw std::runtime_error("of a handler"); });
  CHECK_THROWS_WITH(loop.run(), "of a handler");
  CHECK(calls == 1);
  loop.run();  // does not wait for an hour first
  CHECK(calls == 2);
}

TEST_CASE_TEMPLATE("on_exception receives the exception of a before_wait", Loop, ANY_LOOP) {
  Loop on;
  journal note;
  on.loop.on_exception([&](const std::exception_ptr&) { note("caught"); });
  eddy::before_wait first(on.loop);
  eddy::before_wait second(on.loop);
  first.start_once([] { throw std::runtime_error("of a hook"); });
  second.start_once([&] { note("second"); });
  on.run();
  CHECK(note == "caught second");
  on.loop.on_exception(nullptr);
}

TEST_CASE_FIXTURE(with_loop, "a flood of ready work does not keep a before_wait from its calls") {
  int calls = 0;
  std::function<void()> flood = [&] {
    if (calls < 3) loop.defer([&] { flood(); });
  };
  flood();
  eddy::before_wait hook(loop);
  hook.start([&] { ++calls; });
  loop.run();
  CHECK(calls >= 3);
}

TEST_CASE_FIXTURE(with_still_loop, "the calls of a turn are bounded, and the next turn goes on") {
  constexpr std::size_t many = eddy::event_loop::budget + 100;
  std::size_t calls = 0;
  std::deque<eddy::before_wait> hooks;
  for (std::size_t i = 0; i < many; ++i) {
    hooks.emplace_back(loop).start_once([&] { ++calls; });
  }
  CHECK(loop.run_ready());
  CHECK(calls == eddy::event_loop::budget);
  loop.run_ready();
  CHECK(calls == many);
}

TEST_CASE_FIXTURE(with_still_loop, "a before_wait has a share of operations of its own") {
  eddy::before_wait hook(loop);
  int left = 0;
  hook.start_once([&] { left = loop.operations_left(); });
  loop.run_ready();
  CHECK(left == eddy::event_loop::share - 1);
}

TEST_CASE_FIXTURE(with_jumping_loop, "a before_wait is called before a held clock jumps") {
  journal note;
  eddy::before_wait hook(loop);
  eddy::timer timer(loop);
  timer.start(1h, [&] { note("timer"); });
  const auto start = clock.now();
  hook.start_once([&] { note(clock.now() == start ? "hook" : "late"); });
  loop.run();
  CHECK(note == "hook timer");
}

TEST_CASE("a before_wait in a forked child is called") {
  const tidy leaves_nothing;
  eddy::event_loop loop;
  eddy::before_wait hook(loop);
  bool called = false;
  hook.start_once([&] { called = true; });
  CHECK(holds_in_child([&] {
    loop.run();
    return called;
  }));
  CHECK_FALSE(called);
  hook.stop();
}

TEST_CASE("a loop describes its before_waits, and must outlive them") {
  const tidy leaves_nothing;
  eddy::event_loop loop;
  {
    eddy::before_wait hook(loop);
    CHECK(loop.dump().find("before_wait") == std::string::npos);
    hook.start([] {});
    CHECK(loop.dump().find("1 before_wait\n") != std::string::npos);
  }
  dies_saying("1 before_wait", [] {
    std::optional<eddy::event_loop> short_lived(std::in_place);
    eddy::before_wait hook(*short_lived);
    hook.start([] {});
    short_lived.reset();
  });
}

TEST_CASE("a null handler of a before_wait aborts") {
  const tidy leaves_nothing;
  dies_saying("before_wait::start was given a handler that is null", [] {
    eddy::event_loop loop;
    eddy::before_wait(loop).start(nullptr);
  });
  dies_saying("before_wait::start_once was given a handler that is null", [] {
    eddy::event_loop loop;
    eddy::before_wait(loop).start_once(nullptr);
  });
}

TEST_SUITE("threads") {
  TEST_CASE("a before_wait that another thread starts while the loop runs aborts") {
    const tidy leaves_nothing;
    dies_saying("another thread", [] {
      eddy::event_loop loop;
      eddy::before_wait hook(loop);
      loop.defer([&] { std::thread([&] { hook.start([] {}); }).join(); });
      loop.run();
    });
  }
}
