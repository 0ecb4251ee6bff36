// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/event_loop.h> for programs that have a loop already.
#include <chrono>
#include <csignal>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>

#include <doctest/doctest.h>
#include <ev.h>
#include <poll.h>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/file_watch.h>
#include <eddy/loop/readiness.h>
#include <eddy/loop/signal.h>
#include <eddy/loop/timer.h>
#include <eddy/loop/work_guard.h>

#include "support/any_loop.h"
#include "support/forked.h"
#include "support/journal.h"
#include "support/socket_pair.h"
#include "support/temporary_directory.h"
#include "support/tidy.h"

using namespace std::chrono_literals;

namespace {

bool readable(int descriptor, std::chrono::milliseconds limit = 0ms) {
  struct pollfd p{.fd = descriptor, .events = POLLIN, .revents = 0};
  return ::poll(&p, 1, static_cast<int>(limit.count())) == 1;
}

/// Runs libev's loop inside a callback of the program. This runs all of eddy's work.
void run_nested(struct ev_loop* ev) {
  ev_timer inner;
  ev_timer_init(&inner, [](struct ev_loop*, ev_timer*, int) {}, 0.001, 0.);
  ev_timer_start(ev, &inner);
  while (ev_is_active(&inner)) ev_run(ev, EVRUN_ONCE);
}

}  // namespace

// ---- A loop that the program already runs

TEST_CASE_FIXTURE(program_loop, "the program's own watchers keep an adopted loop running") {
  eddy::event_loop loop(ev);
  journal note;
  ev_timer own;
  ev_timer_init(
      &own, [](struct ev_loop*, ev_timer* w, int) { (*static_cast<journal*>(w->data))("own"); },
      0.002, 0.);
  own.data = &note;
  ev_timer_start(ev, &own);
  loop.defer([&] { note("deferred"); });

  SUBCASE("when eddy runs the loop") { loop.run(); }
  SUBCASE("when the program runs the loop") { ev_run(ev, 0); }
  // On a slow machine the time may be over here.
  const bool all = note == "deferred own" || note == "own deferred";
  CHECK(all);
}

TEST_CASE_FIXTURE(program_loop, "the program and eddy may run an adopted loop alternately") {
  eddy::event_loop loop(ev);
  for (int i = 0; i < 3; ++i) {
    journal note;
    eddy::timer timer(loop);
    timer.start(1ms, [&] { note("one"); });
    ev_run(ev, 0);
    timer.start(1ms, [&] { note("two"); });
    loop.run();
    loop.defer([&] { note("three"); });
    ev_run(ev, 0);
    loop.post([&] { note("four"); });
    loop.run();
    loop.post([&] { note("five"); });
    CHECK(readable(loop.descriptor()));
    loop.defer([&] { note("six"); });
    ev_run(ev, 0);
    CHECK(note.text().starts_with("one two three four "));
    CHECK(note.text().size() == std::string("one two three four five six").size());
  }
}

TEST_CASE_FIXTURE(program_loop,
                  "the program's callbacks may use eddy, which runs no handler inside them") {
  eddy::event_loop loop(ev);
  struct program {
    eddy::event_loop& loop;
    eddy::timer timer;
    journal note;
  } p{loop, eddy::timer(loop), {}};
  ev_timer own;
  ev_timer_init(
      &own,
      [](struct ev_loop*, ev_timer* w, int) {
        auto& q = *static_cast<program*>(w->data);
        q.loop.defer([&q] { q.note("deferred"); });
        q.timer.start(1ms, [&q] { q.note("timer"); });
        q.note("own");
      },
      0.001, 0.);
  own.data = &p;
  ev_timer_start(ev, &own);

  SUBCASE("when eddy runs the loop") { loop.run(); }
  SUBCASE("when the program runs the loop") { ev_run(ev, 0); }
  CHECK(p.note == "own deferred timer");
}

TEST_CASE_FIXTURE(program_loop, "stop ends the program's ev_run only if that runs") {
  eddy::event_loop loop(ev);
  struct program {
    eddy::event_loop& loop;
    int ticks;
  } p{loop, 0};
  ev_timer own;
  ev_timer_init(
      &own,
      [](struct ev_loop* running, ev_timer* w, int) {
        auto& q = *static_cast<program*>(w->data);
        if (++q.ticks == 1) {
          // eddy's own `run`, inside a callback of the program.
          q.loop.defer([&q] { q.loop.stop(); });
          q.loop.run();
        }
        if (q.ticks == 3) q.loop.defer([&q] { q.loop.stop(); });
        if (q.ticks == 100) ev_break(running, EVBREAK_ALL);
      },
      0.001, 0.001);
  own.data = &p;
  ev_timer_start(ev, &own);
  ev_run(ev, 0);
  CHECK(p.ticks >= 3);
  CHECK(p.ticks < 100);
  ev_timer_stop(ev, &own);
}

TEST_CASE_TEMPLATE("stop ends run though a library's callback runs libev's loop again", Loop,
                   ANY_LOOP) {
  Loop on;
  eddy::timer never(on.loop);
  never.start(1h, [] {});
  struct library {
    eddy::event_loop& loop;
    ev_timer again{};
    ev_timer stop{};
  } l{.loop = on.loop};
  ev_timer_init(&l.again, [](struct ev_loop* ev, ev_timer*, int) { ev_run(ev, 0); }, 0.001, 0.);
  ev_timer_init(
      &l.stop,
      [](struct ev_loop*, ev_timer* w, int) { static_cast<library*>(w->data)->loop.stop(); }, 0.002,
      0.);
  l.stop.data = &l;
  ev_timer_start(on.loop.native(), &l.again);
  ev_timer_start(on.loop.native(), &l.stop);
  ::alarm(20);
  on.loop.run();
  ::alarm(0);
  CHECK(on.loop.stopped());
}

TEST_CASE_FIXTURE(program_loop,
                  "stopped is about the last run, also if that was the program's ev_run") {
  eddy::event_loop loop(ev);
  eddy::timer timer(loop);
  timer.start(1ms, [&] { loop.stop(); });
  SUBCASE("by ev_run") { ev_run(ev, 0); }
  SUBCASE("by run") { loop.run(); }
  CHECK(loop.stopped());

  bool ran = false;
  loop.defer([&] { ran = true; });
  ev_run(ev, EVRUN_NOWAIT);
  CHECK(ran);
  CHECK_FALSE(loop.stopped());
}

TEST_CASE_FIXTURE(program_loop, "destroying an event_loop leaves the program's ev_run as it was") {
  {
    eddy::event_loop loop(ev);
    socket_pair pair;
    eddy::readiness near(loop, pair.near());
    near.wait_readable([](std::error_code) {});
    pair.send();
    eddy::timer timer(loop);
    timer.start(100us, [] {}, eddy::resolution::fine);
    ev_run(ev, 0);
    timer.start(1h, [] {});
    loop.run_ready();
    ev_run(ev, EVRUN_NOWAIT);
    timer.stop();
  }
  ev_run(ev, 0);  // returns: nothing of it is left

  ev_timer own;
  ev_timer_init(&own, [](struct ev_loop*, ev_timer*, int) {}, 0.001, 0.);
  ev_timer_start(ev, &own);
  ev_run(ev, 0);
  CHECK_FALSE(ev_is_active(&own));
}

TEST_CASE_FIXTURE(program_loop, "a callback of the program may destroy the event_loop") {
  struct program {
    std::optional<eddy::event_loop> loop;
    std::optional<eddy::timer> timer;
    std::optional<eddy::readiness> near;
    socket_pair pair;
    int ticks = 0;
  } p;
  p.loop.emplace(ev);
  p.timer.emplace(*p.loop);
  p.near.emplace(*p.loop, p.pair.near());
  p.near->wait_readable([](std::error_code) { FAIL_CHECK("gone"); });
  p.timer->start(1ms, [] { FAIL_CHECK("gone"); });
  ev_timer own;
  ev_timer_init(
      &own,
      [](struct ev_loop* running, ev_timer* w, int) {
        auto& q = *static_cast<program*>(w->data);
        // eddy's timer and descriptor are ready, too, and libev has noted both.
        q.near.reset();
        q.timer.reset();
        q.loop.reset();
        if (++q.ticks == 3) ev_timer_stop(running, w);
      },
      0.0005, 0.0005);
  own.data = &p;
  ev_set_priority(&own, EV_MAXPRI);
  ev_timer_start(ev, &own);
  p.pair.send();
  const eddy::time_point both_due = p.timer->deadline();
  while (std::chrono::steady_clock::now() < both_due) {
  }
  ev_run(ev, 0);
  CHECK(p.ticks == 3);
}

TEST_CASE_FIXTURE(tidy, "a libev loop that does not run on epoll is refused") {
  struct ev_loop* const poll = ev_loop_new(EVBACKEND_POLL);
  CHECK_THROWS_AS(eddy::event_loop{poll}, std::system_error);
  ev_loop_destroy(poll);
}

TEST_CASE_FIXTURE(program_loop, "an exception of the program's own callback loses no work") {
  eddy::event_loop loop(ev);
  journal note;
  socket_pair pair;
  eddy::readiness near(loop, pair.near());
  eddy::timer keeps(loop);
  near.wait_readable([&](std::error_code) {
    note("readable");
    keeps.stop();
  });
  keeps.start(1h, [] {});
  loop.run_ready();
  ev_timer own;
  ev_timer_init(
      &own, [](struct ev_loop*, ev_timer*, int) { throw std::runtime_error("own"); }, 0., 0.);
  SUBCASE("before eddy's callback") { ev_set_priority(&own, EV_MAXPRI); }
  SUBCASE("after eddy's callback") { ev_set_priority(&own, -1); }
  ev_timer_start(ev, &own);
  pair.send();
  CHECK_THROWS_WITH(loop.run(), "own");
  ev_break(ev, EVBREAK_CANCEL);
  loop.run();
  CHECK(note == "readable");
  ev_run(ev, 0);
}

TEST_CASE_FIXTURE(with_loop, "a C library's watchers on the native loop run beside eddy's") {
  journal note;
  socket_pair pair;
  socket_pair theirs;
  eddy::readiness near(loop, pair.near());
  eddy::timer timer(loop);
  near.wait_readable([&](std::error_code) { note("readable"); });
  loop.run_ready();  // what is watched already stays so

  struct library {
    journal& note;
    socket_pair& theirs;
    socket_pair& ours;
  } library{note, theirs, pair};
  ev_io own;
  ev_io_init(
      &own,
      [](struct ev_loop* ev, ev_io* w, int) {
        auto& l = *static_cast<struct library*>(w->data);
        l.note(l.theirs.receive());
        l.ours.send();
        ev_io_stop(ev, w);
      },
      theirs.near(), EV_READ);
  own.data = &library;
  SUBCASE("from the beginning") { ev_io_start(loop.native(), &own); }
  SUBCASE("in a handler") {
    loop.defer([&] { ev_io_start(loop.native(), &own); });
  }
  timer.start(1ms, [&] {
    note("timer");
    theirs.send("theirs");
  });
  loop.run();
  CHECK(note == "timer theirs readable");
}

TEST_CASE_FIXTURE(with_loop, "a C library's watchers keep the native loop running") {
  journal note;
  ev_timer own;
  ev_timer_init(
      &own, [](struct ev_loop*, ev_timer* w, int) { (*static_cast<journal*>(w->data))("own"); },
      0.002, 0.);
  own.data = &note;
  ev_timer_start(loop.native(), &own);
  loop.run();
  CHECK(note == "own");
}

TEST_CASE_FIXTURE(tidy, "an exception under the program's ev_run aborts without on_exception") {
  dies_saying("no event_loop::on_exception takes it: too bad", [] {
    program_run_loop on;
    on.loop.defer([] { throw std::runtime_error("too bad"); });
    on.run();
  });
}

// ---- Living inside another loop

TEST_CASE_TEMPLATE("a program that polls can host a loop by its descriptor and next_run", Loop,
                   own_loop, hosted_loop, adopted_loop) {
  Loop on;
  socket_pair pair;
  journal note;
  eddy::readiness near(on.loop, pair.near());
  near.wait_readable([&](std::error_code) { note(pair.receive()); });
  eddy::timer timer(on.loop);
  timer.start(2ms, [&] {
    note("timer");
    pair.send("read");
  });
  on.loop.post([&] { note("posted"); });

  for (int rounds = 0; note.text().size() < std::string("posted timer read").size(); ++rounds) {
    REQUIRE(rounds < 100);
    const auto left = on.loop.next_run();
    readable(on.loop.descriptor(),
             left ? std::chrono::ceil<std::chrono::milliseconds>(*left) : 1000ms);
    on.loop.run_ready();
  }
  CHECK(note == "posted timer read");
  CHECK_FALSE(on.loop.next_run());
  CHECK_FALSE(readable(on.loop.descriptor()));
}

TEST_CASE_TEMPLATE("a host that asks while work is queued reports no event twice", Loop, ANY_LOOP) {
  Loop on;
  const socket_pair first;
  const socket_pair second;
  const socket_pair fresh;
  eddy::readiness a(on.loop, first.near());
  eddy::readiness b(on.loop, second.near());
  eddy::readiness c(on.loop, fresh.near());
  int told = 0;
  const auto handle = [&](eddy::readiness& watch, const socket_pair& pair) {
    watch.wait_readable([&](std::error_code) {
      ++told;
      on.loop.end_turn();
      CHECK(pair.receive() == "x");
      watch.wait_readable([&](std::error_code) { ++told; });
      if (!c.waiting(eddy::readiness::direction::read)) {
        c.wait_readable(
            [&](std::error_code) { ++told; });  // the kernel does not know this wait yet
      }
    });
  };
  handle(a, first);
  handle(b, second);
  static_cast<void>(on.loop.descriptor());
  static_cast<void>(on.loop.next_run());
  first.send();
  second.send();
  for (int i = 0; i < 6; ++i) {
    on.loop.run_ready();
    static_cast<void>(on.loop.descriptor());
    static_cast<void>(on.loop.next_run());
  }
  CHECK(told == 2);
}

TEST_CASE_FIXTURE(with_loop, "a host may ask while libev makes a new epoll set") {
  // The program closes one of the descriptors and then makes libev make a new set.
  socket_pair closed;
  const socket_pair open;
  journal note;
  eddy::readiness stale(loop, closed.near());
  stale.wait_readable(
      [&](std::error_code e) { note(e == std::errc::bad_file_descriptor ? "closed" : "wrong"); });
  eddy::readiness other(loop, open.near());
  other.wait_readable([&](std::error_code) { note(open.receive()); });
  SUBCASE("for the next run") {
    loop.run_ready();
    ev_loop_fork(loop.native());
    closed.close_near();
    CHECK(loop.next_run() == 0ms);
  }
  SUBCASE("for the descriptor") {
    loop.run_ready();
    ev_loop_fork(loop.native());
    closed.close_near();
    static_cast<void>(loop.descriptor());
  }
  loop.run_ready();
  CHECK(note == "closed");
  CHECK_FALSE(readable(loop.descriptor()));
  open.send("read");
  CHECK(readable(loop.descriptor()));
  loop.run();
  CHECK(note == "closed read");
}

TEST_CASE_FIXTURE(with_loop, "a loop can be hosted by another loop") {
  eddy::event_loop inner;
  eddy::readiness works(loop, inner.descriptor());
  eddy::timer deadline(loop);
  journal note;
  struct host {
    eddy::event_loop& inner;
    eddy::readiness& works;
    eddy::timer& deadline;
    void operator()() const {
      inner.run_ready();
      if (const auto left = inner.next_run()) deadline.start(*left, *this);
      if (inner.count().waiting == 0 && inner.count().timers == 0) {
        works.stop();
        deadline.stop();
      } else if (!works.waiting(eddy::readiness::direction::read)) {
        works.stop();
        works.wait_readable([self = *this](std::error_code) { self(); });
      }
    }
  };
  socket_pair pair;
  eddy::readiness near(inner, pair.near());
  near.wait_readable([&](std::error_code) { note("readable"); });
  eddy::timer timer(inner);
  timer.start(1ms, [&] {
    note("timer");
    pair.send();
  });
  loop.defer(host{inner, works, deadline});
  loop.run();
  CHECK(note == "timer readable");
}

TEST_CASE_FIXTURE(program_loop, "ev_run goes on for a wait that begins behind a nested ev_run") {
  struct program {
    explicit program(struct ev_loop* ev) : loop(ev), timer(loop), ready(loop, pair.near()) {}
    eddy::event_loop loop;
    socket_pair pair;
    eddy::timer timer;
    eddy::readiness ready;
    std::optional<eddy::work_guard> kept;
    void (*begin)(program&) = nullptr;
    int told = 0;
  };
  constexpr std::pair<const char*, void (*)(program&)> starts[] = {
      {"timer", [](program& p) { p.timer.start(1ms, [&p] { ++p.told; }); }},
      {"descriptor",
       [](program& p) {
         p.ready.wait_readable([&p](std::error_code) { ++p.told; });
         p.pair.send();
       }},
      {"deferred", [](program& p) { p.loop.defer([&p] { ++p.told; }); }},
      {"work_guard",
       [](program& p) {
         p.kept.emplace(p.loop);
         p.loop.post([&p] {
           ++p.told;
           p.kept.reset();
         });
       }},
  };
  for (const auto& [what, begin] : starts) {
    INFO(std::string(what));
    program p(ev);
    p.begin = begin;
    ev_timer outer;
    ev_timer_init(
        &outer,
        [](struct ev_loop* running, ev_timer* w, int) {
          run_nested(running);
          auto& own = *static_cast<program*>(w->data);
          own.begin(own);
        },
        0.001, 0.);
    outer.data = &p;
    ev_timer_start(ev, &outer);
    ev_run(ev, 0);
    CHECK(p.told == 1);
  }
}

TEST_CASE_FIXTURE(program_loop, "ev_run goes on for a wait that leaves the background") {
  struct program {
    explicit program(struct ev_loop* ev)
        : loop(ev), timer(loop), ready(loop, pair.near()), usr1(loop, SIGUSR1), files(loop, path) {
      timer.background(true);
      ready.background(true);
      usr1.background(true);
      files.background(true);
    }
    temporary_directory directory;
    std::string path = directory / "file";
    eddy::event_loop loop;
    socket_pair pair;
    eddy::timer timer;
    eddy::readiness ready;
    eddy::signal usr1;
    eddy::file_watch files;
    void (*return_to_front)(program&) = nullptr;
    int told = 0;
  };
  struct kind {
    const char* name;
    void (*begin)(program&);
    void (*return_to_front)(program&);
  };
  constexpr kind kinds[] = {
      {"timer", [](program& p) { p.timer.start(50ms, [&p] { ++p.told; }); },
       [](program& p) { p.timer.background(false); }},
      {"descriptor", [](program& p) { p.ready.wait_readable([&p](std::error_code) { ++p.told; }); },
       [](program& p) {
         p.ready.background(false);
         p.pair.send();
       }},
      {"signal",
       [](program& p) {
         p.usr1.start([&p] {
           ++p.told;
           p.usr1.stop();
         });
       },
       [](program& p) {
         p.usr1.background(false);
         std::raise(SIGUSR1);
       }},
      {"file",
       [](program& p) {
         std::ofstream(p.path) << "first";
         p.files.start([&p](const eddy::file_event&) {
           ++p.told;
           p.files.stop();
         });
       },
       [](program& p) {
         p.files.background(false);
         std::ofstream(p.path) << "second";
       }},
  };
  for (const kind& k : kinds) {
    INFO(std::string(k.name));
    program p(ev);
    p.return_to_front = k.return_to_front;
    k.begin(p);
    ev_timer own;
    ev_timer_init(
        &own,
        [](struct ev_loop* running, ev_timer* w, int) {
          run_nested(running);
          auto& q = *static_cast<program*>(w->data);
          q.return_to_front(q);
        },
        0.001, 0.);
    own.data = &p;
    ev_timer_start(ev, &own);
    ev_run(ev, 0);
    CHECK(p.told == 1);
  }
}

TEST_CASE_FIXTURE(program_loop, "a new adopted loop must run once before its descriptor reports") {
  eddy::event_loop loop(ev);
  CHECK(loop.next_run() == 0ns);
  loop.run_ready();
  CHECK_FALSE(loop.next_run());
  loop.post([] {});
  CHECK(readable(loop.descriptor()));
  loop.run_ready();
}

TEST_CASE_FIXTURE(hosted_loop, "a timer that has fired leaves the loop's descriptor unreadable") {
  eddy::timer timer(loop);
  timer.start(1ms, [] {});
  while (timer.active()) loop.run_once();
  CHECK_FALSE(loop.next_run());
  CHECK_FALSE(readable(loop.descriptor()));
}
