// SPDX-License-Identifier: BSD-2-Clause
// What <eddy/loop/event_loop.h> promises.
#include <eddy/loop/event_loop.h>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>
#include <ev.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <eddy/loop/detail/recycler.h>
#include <eddy/loop/keep_alive.h>
#include <eddy/loop/readiness.h>
#include <eddy/loop/signal.h>
#include <eddy/loop/timer.h>

#include "support/any_loop.h"
#include "support/counted.h"
#include "support/forked.h"
#include "support/journal.h"
#include "support/sanitized.h"
#include "support/socket_pair.h"
#include "support/tidy.h"

using namespace std::chrono_literals;
using std::chrono::steady_clock;

static_assert(!std::is_copy_constructible_v<eddy::event_loop>);
static_assert(!std::is_move_constructible_v<eddy::event_loop>);

namespace {

bool readable(int descriptor, std::chrono::milliseconds limit = 0ms) {
  struct pollfd p{.fd = descriptor, .events = POLLIN, .revents = 0};
  return ::poll(&p, 1, static_cast<int>(limit.count())) == 1;
}

eddy::duration processor_time() {
  struct rusage used{};
  ::getrusage(RUSAGE_THREAD, &used);
  return std::chrono::seconds(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         std::chrono::microseconds(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

/// Leaves this process, the child of a fork, no free descriptor.
void use_up_descriptors() {
  const struct rlimit few{64, 64};
  ::setrlimit(RLIMIT_NOFILE, &few);
  while (::dup(STDERR_FILENO) >= 0) {
  }
}

}  // namespace

// ---- One turn

TEST_CASE_TEMPLATE("a turn queues timers by deadline, then descriptors, then what was posted", Loop,
                   ANY_LOOP) {
  Loop on;
  journal note;
  socket_pair one;
  socket_pair two;
  eddy::readiness first(on.loop, one.near());
  eddy::readiness second(on.loop, two.near());
  first.wait_readable([&](std::error_code) { note("first"); });
  second.wait_readable([&](std::error_code) { note("second"); });
  on.loop.run_ready();  // the kernel knows of them
  eddy::timer late(on.loop);
  eddy::timer early(on.loop);
  const auto now = steady_clock::now();

  on.loop.post([&] { note("posted"); });
  two.send();
  one.send();
  late.start_at(now - 1ns, [&] { note("late"); });
  early.start_at(now - 2ns, [&] { note("early"); });
  on.loop.defer([&] { note("deferred"); });

  on.run();
  CHECK(note == "deferred early late second first posted");
}

TEST_CASE_FIXTURE(with_loop, "a turn runs so many entries and no more") {
  int ran = 0;
  for (int i = 0; i < 3 * eddy::event_loop::budget / 2; ++i) loop.defer([&] { ++ran; });
  loop.run_once();
  CHECK(ran == eddy::event_loop::budget);
  loop.run_once();
  CHECK(ran == 3 * eddy::event_loop::budget / 2);
}

TEST_CASE_TEMPLATE("a handler never runs in the call that registers it", Loop, ANY_LOOP) {
  Loop on;
  journal note;
  on.loop.defer([&] {
    on.loop.defer([&] { note("deferred"); });
    on.loop.post([&] { note("posted"); });
    note("registered");
  });
  CHECK(note == "");
  on.run();
  CHECK(note == "registered deferred posted");
}

TEST_CASE_FIXTURE(with_loop, "a handler that ends the turn has the rest wait for the next one") {
  journal note;
  loop.defer([&] { note("a"); });
  loop.defer([&] {
    loop.end_turn();
    note("b");
  });
  loop.defer([&] { note("c"); });
  loop.run_once();
  CHECK(note == "a b");
  loop.run_once();
  CHECK(note == "a b c");
}

TEST_CASE_FIXTURE(with_loop, "the time of a turn stands still, and is fresh in the next") {
  eddy::time_point first{};
  loop.defer([&] {
    first = loop.now();
    while (steady_clock::now() == first) {
    }
    CHECK(loop.now() == first);
    CHECK(loop.after(0s) > first);
    loop.post([&] { CHECK(loop.now() > first); });
  });
  loop.run();
  CHECK(loop.after(eddy::duration::max()) == eddy::time_point::max());
  CHECK(loop.after(-1h) >= first);
}

TEST_CASE_TEMPLATE("a million deferred functions in a row need no stack", Loop, ANY_LOOP) {
  Loop on;
  struct chain {
    eddy::event_loop& loop;
    int& left;
    void operator()() const {
      if (--left != 0) loop.defer(*this);
    }
  };
  int left = 1'000'000;
  on.loop.defer(chain{on.loop, left});
  on.run();
  CHECK(left == 0);
}

// ---- Running

TEST_CASE_TEMPLATE("a loop that nothing keeps alive returns at once", Loop, ANY_LOOP) {
  Loop on;
  on.run();
  on.run();
  CHECK(eddy::event_loop::current() == nullptr);
}

TEST_CASE_FIXTURE(with_loop, "run_once waits for what keeps the loop alive, and runs one turn") {
  loop.run_once();  // nothing does

  journal note;
  eddy::timer timer(loop);
  timer.start(2ms, [&] {
    note("timer");
    loop.defer([&] { note("deferred"); });
    loop.post([&] { note("posted"); });
  });
  while (timer.active()) loop.run_once();
  CHECK(note == "timer deferred");
  loop.run_once();
  CHECK(note == "timer deferred posted");
}

TEST_CASE_TEMPLATE("run_ready never waits, and tells whether it did anything", Loop, own_loop,
                   adopted_loop) {
  Loop on;
  CHECK_FALSE(on.loop.run_ready());
  eddy::timer timer(on.loop);
  timer.start(1h, [] {});
  CHECK_FALSE(on.loop.run_ready());
  on.loop.defer([] {});
  CHECK(on.loop.run_ready());
  CHECK_FALSE(on.loop.run_ready());
  timer.stop();
}

TEST_CASE_TEMPLATE("stop ends run after the handler, and keeps the queue", Loop, ANY_LOOP) {
  Loop on;
  journal note;
  eddy::timer timer(on.loop);
  timer.start(1h, [] {});
  on.loop.defer([&] {
    on.loop.stop();
    note("stopped");
  });
  on.loop.defer([&] { note("kept"); });

  on.run();
  CHECK(note == "stopped");
  CHECK(on.loop.count().ready == 1);
  timer.stop();
  on.run();
  CHECK(note == "stopped kept");
}

TEST_CASE_FIXTURE(with_loop, "a stop while the loop does not run stops nothing") {
  bool ran = false;
  loop.stop();
  loop.defer([&] { ran = true; });
  loop.run();
  CHECK(ran);
}

TEST_CASE_FIXTURE(with_loop, "the loop that runs is known, also when loops are nested") {
  eddy::event_loop inner;
  loop.defer([&] {
    CHECK(eddy::event_loop::current() == &loop);
    inner.defer([&] { CHECK(eddy::event_loop::current() == &inner); });
    inner.run();
    CHECK(eddy::event_loop::current() == &loop);
  });
  loop.run();
  CHECK(eddy::event_loop::current() == nullptr);
}

TEST_CASE_TEMPLATE("an idle loop uses no processor time", Loop, ANY_LOOP) {
  Loop on;
  socket_pair pair;
  eddy::readiness near(on.loop, pair.near());
  near.wait_readable([](std::error_code) {});
  near.background(true);
  on.loop.defer([] {});
  on.run();
  on.loop.post([] {});
  on.run();
  eddy::timer timer(on.loop);
  timer.start(200ms, [] {});
  const auto before = processor_time();
  on.run();
  CHECK(processor_time() - before < 50ms);
}

// ---- Exceptions

TEST_CASE_TEMPLATE("an exception that leaves a handler leaves run, and the loop goes on", Loop,
                   own_loop, adopted_loop) {
  Loop on;
  journal note;
  on.loop.defer([] { throw std::runtime_error("first"); });
  on.loop.defer([&] { note("second"); });
  CHECK_THROWS_WITH_AS(on.run(), "first", std::runtime_error);
  CHECK(eddy::event_loop::current() == nullptr);
  CHECK(note == "");
  on.run();
  CHECK(note == "second");
}

TEST_CASE_TEMPLATE("on_exception takes what handlers throw, and the loop goes on", Loop, ANY_LOOP) {
  Loop on;
  journal note;
  on.loop.on_exception([&](std::exception_ptr error) {
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& e) {
      note(e.what());
    }
  });
  on.loop.defer([] { throw std::runtime_error("first"); });
  on.loop.raise(std::make_exception_ptr(std::runtime_error("raised")));
  on.loop.defer([&] { note("second"); });
  on.run();
  CHECK(note == "first raised second");
}

TEST_CASE_FIXTURE(with_loop, "what takes exceptions may be changed by itself") {
  journal note;
  int alive = 0;
  loop.on_exception([&, c = counted(alive)](std::exception_ptr) {
    loop.on_exception([&](std::exception_ptr) {
      note("second");
      loop.on_exception(nullptr);
    });
    note("first");
    CHECK(alive == 1);
  });
  for (int i = 0; i < 3; ++i) loop.defer([] { throw 1; });
  CHECK_THROWS_AS(loop.run(), int);
  CHECK(note == "first second");
  CHECK(alive == 0);
}

TEST_CASE_FIXTURE(with_loop, "an error that is raised leaves run in the next turn") {
  loop.raise(std::make_exception_ptr(std::runtime_error("nobody's")));
  CHECK_THROWS_WITH_AS(loop.run(), "nobody's", std::runtime_error);
}

TEST_CASE_FIXTURE(with_loop, "an error that is raised leaves run though no memory is free") {
  using failing = eddy::detail::failing_allocations;
  const auto first = std::make_exception_ptr(std::runtime_error("first"));
  const auto second = std::make_exception_ptr(std::runtime_error("second"));
  {
    const failing all(0, failing::times::for_good);
    loop.raise(first);
    loop.raise(second);
  }
  CHECK_THROWS_WITH_AS(loop.run(), "first", std::runtime_error);
  loop.run();
}

TEST_CASE_FIXTURE(tidy, "an error that is raised without memory may be left to a loop's end") {
  using failing = eddy::detail::failing_allocations;
  const auto error = std::make_exception_ptr(std::runtime_error("nobody's"));
  eddy::event_loop loop;
  const failing all(0, failing::times::for_good);
  loop.raise(error);
}

// ---- Misuse

TEST_CASE_FIXTURE(tidy, "running a loop from its own handler stops the program") {
  dies_saying("a turn can't hold another", [] {
    eddy::event_loop loop;
    loop.defer([&] { loop.run(); });
    loop.run();
  });
}

TEST_CASE_FIXTURE(tidy, "destroying a loop from its own handler stops the program") {
  dies_saying("destroyed from one of its own handlers", [] {
    std::optional<eddy::event_loop> loop(std::in_place);
    loop->defer([&] { loop.reset(); });
    loop->run();
  });
}

TEST_CASE_FIXTURE(tidy, "using a running loop from another thread stops the program") {
  dies_saying("post is the way in", [] {
    eddy::event_loop loop;
    loop.defer([&] { std::thread([&] { loop.defer([] {}); }).join(); });
    loop.run();
  });
  dies_saying("post is the way in", [] {
    eddy::event_loop loop;
    eddy::timer timer(loop);
    loop.defer([&] { std::thread([&] { timer.start(1s, [] {}); }).join(); });
    loop.run();
  });
}

TEST_CASE_FIXTURE(tidy, "an exception under the program's ev_run that nobody takes stops it") {
  dies_saying("no event_loop::on_exception takes it: too bad", [] {
    program_run_loop on;
    on.loop.defer([] { throw std::runtime_error("too bad"); });
    on.run();
  });
}

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

  SUBCASE("when eddy runs it") { loop.run(); }
  SUBCASE("when the program does") { ev_run(ev, 0); }
  CHECK(note == "deferred own");
}

TEST_CASE_FIXTURE(program_loop, "either may run an adopted loop in turn") {
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
                  "the program's callbacks may use eddy, which runs nothing in them") {
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

  SUBCASE("when eddy runs it") { loop.run(); }
  SUBCASE("when the program does") { ev_run(ev, 0); }
  CHECK(p.note == "own deferred timer");
}

TEST_CASE_FIXTURE(program_loop, "stop ends the program's ev_run, and only if that is what runs") {
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
          // Eddy's own run, within a callback of the program's.
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

TEST_CASE_FIXTURE(program_loop, "a loop that is let go leaves the program's ev_run as it was") {
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

TEST_CASE_FIXTURE(program_loop, "a loop may be let go by a callback of the program's") {
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
        // Eddy's timer and descriptor are due, too, and libev has noted both.
        std::this_thread::sleep_for(3ms);
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
  std::this_thread::sleep_for(3ms);
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
  SUBCASE("before eddy heard of it") { ev_set_priority(&own, EV_MAXPRI); }
  SUBCASE("after eddy heard of it") { ev_set_priority(&own, -1); }
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
  SUBCASE("from within a handler") {
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

// ---- Living inside another loop

TEST_CASE_TEMPLATE("a loop lives in a program that polls, by its descriptor and next_run", Loop,
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

TEST_CASE_FIXTURE(with_loop, "a loop lives inside another") {
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

// ---- What is short

TEST_CASE_FIXTURE(tidy, "a loop that finds no free descriptor is an error") {
  CHECK(holds_in_child([] {
    use_up_descriptors();
    try {
      const eddy::event_loop loop;
    } catch (const std::system_error& e) {
      return e.code() == std::errc::too_many_files_open;
    }
    return false;
  }));
}

TEST_CASE_FIXTURE(tidy,
                  "a loop that finds one free descriptor too few is an error, and leaks none") {
  for (rlim_t more = 1; more < 3; ++more) {
    CHECK(holds_in_child([more] {
      const auto before = open_descriptors();
      const int next = ::dup(0);
      ::close(next);
      const struct rlimit few{static_cast<rlim_t>(next) + more, static_cast<rlim_t>(next) + 64};
      ::setrlimit(RLIMIT_NOFILE, &few);
      bool made = true;
      try {
        const eddy::event_loop loop;
      } catch (const std::system_error& e) {
        made = e.code() != std::errc::too_many_files_open;
      }
      const struct rlimit many{few.rlim_max, few.rlim_max};
      ::setrlimit(RLIMIT_NOFILE, &many);
      return made == (more >= 2) && open_descriptors() == before;
    }));
  }
}

TEST_CASE_FIXTURE(tidy, "a loop works when no descriptor is free any more, fine timers too") {
  CHECK(holds_in_child([] {
    eddy::event_loop loop;
    use_up_descriptors();
    eddy::timer timer(loop);
    bool rang = false;
    timer.start(100us, [&] { rang = true; }, eddy::resolution::fine);
    loop.run();
    return rang;
  }));
}

#if !SANITIZED
TEST_CASE_FIXTURE(tidy, "memory that is short is an error, and stops nothing") {
  CHECK(holds_in_child([] {
    eddy::event_loop loop;
    std::vector<std::unique_ptr<socket_pair>> pairs;
    for (int i = 0; i < 300; ++i) pairs.push_back(std::make_unique<socket_pair>());
    std::vector<eddy::readiness> watched;
    watched.reserve(pairs.size());
    int told = 0;
    loop.run_ready();

    // No page more, and what the heap has left is eaten.
    const struct rlimit none{1, RLIM_INFINITY};
    ::setrlimit(RLIMIT_AS, &none);
    void* last = nullptr;
    for (std::size_t size = 1 << 16; size >= 64; size /= 2) {
      for (void* block = nullptr; (block = std::malloc(size)) != nullptr;) {
        *static_cast<void**>(block) = last;
        last = block;
      }
    }
    std::size_t refused = 0;
    for (const auto& pair : pairs) {
      try {
        watched.emplace_back(loop, pair->near());
      } catch (const std::bad_alloc&) {
        ++refused;
      }
    }
    // Some memory comes back, for handlers, but none for large tables.
    for (int i = 0; i < 64 && last != nullptr; ++i) {
      void* const next = *static_cast<void**>(last);
      std::free(last);
      last = next;
    }
    loop.run_ready();
    const struct rlimit all{RLIM_INFINITY, RLIM_INFINITY};
    ::setrlimit(RLIMIT_AS, &all);
    while (last != nullptr) {
      void* const next = *static_cast<void**>(last);
      std::free(last);
      last = next;
    }
    for (auto& near : watched) near.wait_readable([&](std::error_code) { ++told; });
    for (const auto& pair : pairs) pair->send();
    loop.run();
    return refused != 0 && static_cast<std::size_t>(told) == watched.size();
  }));
}
#endif

// ---- Fork

TEST_CASE_TEMPLATE("the child of a fork may go on with its copy, and the parent is undisturbed",
                   Loop, ANY_LOOP) {
  Loop on;
  socket_pair pair;
  socket_pair other;
  journal note;
  eddy::readiness near(on.loop, pair.near());
  eddy::readiness far(on.loop, other.near());
  near.wait_readable([&](std::error_code) { note("readable"); });
  far.wait_readable([&](std::error_code) { note("other"); });
  eddy::timer coarse(on.loop);
  coarse.start(10ms, [&] { note("coarse"); });
  eddy::timer fine(on.loop);
  fine.start(11ms, [&] { note("fine"); }, eddy::resolution::fine);
  on.loop.run_ready();

  SUBCASE("when the child runs it") {
    CHECK(holds_in_child([&] {
      far.stop();
      eddy::timer sender(on.loop);
      sender.start(1ms, [&] { on.loop.post([&] { pair.send(); }); });
      on.run();
      static_cast<void>(pair.receive());
      return note.text().contains("readable") && note.text().contains("coarse fine") &&
             !note.text().contains("other");
    }));
    CHECK(note == "");
  }
  SUBCASE("when the child only destroys what it has") {
    // What it destroys is a copy; the loop's destructor is the last of it.
    const ::pid_t pid = ::fork();
    if (pid == 0) {
      near.stop();
      far.stop();
      coarse.stop();
      fine.stop();
      {
        Loop inner;
        inner.run();
      }
      ::_exit(0);
    }
    CHECK(end_of(pid) == 0);
  }
  pair.send();
  other.send();
  on.run();
  CHECK(note.text().contains("readable"));
  CHECK(note.text().contains("other"));
  CHECK(note.text().contains("coarse"));
  CHECK(note.text().contains("fine"));
}

TEST_CASE_TEMPLATE("what was posted before a fork runs in both processes", Loop, ANY_LOOP) {
  Loop on;
  eddy::timer keeps(on.loop);
  keeps.start(1h, [] {});
  on.loop.post([&] { keeps.stop(); });
  CHECK(holds_in_child([&] {
    on.run();
    return !keeps.active();
  }));
  on.run();
  CHECK_FALSE(keeps.active());
}

TEST_CASE_FIXTURE(tidy, "a child of a fork that destroys its copy leaves the parent's timers") {
  std::optional<eddy::event_loop> loop(std::in_place);
  std::optional<eddy::timer> fine(std::in_place, *loop);
  bool rang = false;
  fine->start(20ms, [&] { rang = true; }, eddy::resolution::fine);
  std::optional<eddy::timer> tick(std::in_place, *loop);
  tick->start(1ms, [] {}, eddy::resolution::fine);
  while (tick->active()) loop->run_once();
  // The timer descriptor is armed for the other one, once the loop waits again.
  std::thread waker([remote = loop->remote()] {
    std::this_thread::sleep_for(2ms);
    remote.post([] {});
  });
  loop->run_once();
  waker.join();

  CHECK(holds_in_child([&] {
    fine.reset();
    tick.reset();
    loop.reset();
    return true;
  }));
  eddy::timer watchdog(*loop);
  watchdog.background(true);
  loop->run();
  CHECK(rang);
  fine.reset();
  tick.reset();
}

TEST_CASE_FIXTURE(tidy, "the child of a fork renews its loop when no descriptor is free") {
  eddy::event_loop loop;
  eddy::timer timer(loop);
  bool rang = false;
  timer.start(1ms, [&] { rang = true; }, eddy::resolution::fine);
  loop.run();
  timer.start(1ms, [&] { rang = true; }, eddy::resolution::fine);
  rang = false;
  loop.run_ready();
  CHECK(holds_in_child([&] {
    use_up_descriptors();
    loop.run();
    bool posted = false;
    loop.post([&] { posted = true; });
    loop.run();
    return rang && posted;
  }));
  loop.run();
  CHECK(rang);
}

TEST_CASE_FIXTURE(with_loop, "a descriptor that the child of a fork has closed stops no program") {
  socket_pair pair;
  eddy::readiness near(loop, pair.near());
  std::error_code got;
  near.wait_readable([&](std::error_code error) { got = error; });
  loop.run_ready();
  CHECK(holds_in_child([&] {
    pair.close_near();
    loop.run();
    return got == std::errc::bad_file_descriptor;
  }));
  pair.send();
  loop.run();
  CHECK_FALSE(got);
}

TEST_CASE_FIXTURE(with_loop, "a fork in the midst of a turn gives the child a loop of its own") {
  std::optional<::pid_t> forked;
  bool after = false;
  socket_pair pair;
  eddy::readiness near(loop, pair.near());
  loop.defer([&] { forked = ::fork(); });
  loop.defer([&] {
    if (*forked == 0) {
      ::alarm(20);
      near.wait_readable([&](std::error_code) { after = true; });
      pair.send();
    }
  });
  loop.run();
  if (*forked == 0) ::_exit(after ? 0 : 1);
  CHECK(end_of(*forked) == 0);
  CHECK_FALSE(after);
}

// ---- Threads

TEST_SUITE("threads") {
  TEST_CASE_FIXTURE(tidy, "two loops run in two threads") {
    const auto busy = [] {
      eddy::event_loop loop;
      socket_pair pair;
      eddy::readiness near(loop, pair.near());
      int left = 200;
      eddy::timer timer(loop);
      timer.start_every(100us, [&] { pair.send(); }, eddy::resolution::fine);
      struct reader {
        eddy::readiness& near;
        socket_pair& pair;
        eddy::timer& timer;
        int& left;
        void operator()(std::error_code) const {
          CHECK_FALSE(pair.receive().empty());
          if (--left == 0) return timer.stop();
          near.wait_readable(*this);
        }
      };
      near.wait_readable(reader{near, pair, timer, left});
      loop.run();
      CHECK(left == 0);
    };
    std::thread other(busy);
    busy();
    other.join();
  }

  TEST_CASE_FIXTURE(tidy, "a loop may be made on one thread and run on another") {
    auto loop = std::make_unique<eddy::event_loop>();
    bool ran = false;
    loop->defer([&] { ran = true; });
    std::thread([&] { loop->run(); }).join();
    CHECK(ran);
    loop->run();
  }
}
