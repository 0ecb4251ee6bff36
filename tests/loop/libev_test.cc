// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/event_loop.h> for programs and libraries that use libev.
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <ev.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <eddy/loop/child_process.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/readiness.h>
#include <eddy/loop/timer.h>

#include "support/any_loop.h"
#include "support/forked.h"
#include "support/journal.h"
#include "support/sanitized.h"
#include "support/socket_pair.h"
#include "support/tidy.h"

using namespace std::chrono_literals;

namespace {

/// A C library that watches a descriptor, once.
struct library {
  library(journal& n, int descriptor) : note(n) {
    ev_io_init(
        &io,
        [](struct ev_loop* ev, ev_io* w, int) {
          ev_io_stop(ev, w);
          static_cast<library*>(w->data)->note("library");
        },
        descriptor, EV_READ);
    io.data = this;
  }
  journal& note;
  ev_io io;
};

/// Runs an event loop from the program's own loop around `poll`.
void poll_until(eddy::event_loop& loop, const journal& note, const char* end) {
  for (int rounds = 0; note.text() != end; ++rounds) {
    REQUIRE(rounds < 50);
    struct pollfd p{.fd = loop.descriptor(), .events = POLLIN, .revents = 0};
    const auto left = loop.next_run();
    const int limit =
        left ? static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(*left).count()) : 2000;
    const bool woken = ::poll(&p, 1, limit) == 1;
    CHECK((woken || left));  // or it would have slept for ever
    loop.run_ready();
  }
}

}  // namespace

// ---- The native loop

TEST_CASE_FIXTURE(with_loop, "a libev watcher that a handler starts keeps the loop running") {
  journal note;
  socket_pair pair;
  pair.send();
  library lib(note, pair.near());
  loop.defer([&] { ev_io_start(loop.native(), &lib.io); });
  loop.run();
  CHECK(note == "library");
}

TEST_CASE_FIXTURE(with_loop,
                  "a libev watcher that a libev callback starts keeps the loop running") {
  journal note;
  struct chain {
    journal& note;
    ev_timer first;
    ev_timer second;
  } c{note, {}, {}};
  ev_timer_init(
      &c.first,
      [](struct ev_loop* ev, ev_timer* w, int) {
        auto& self = *static_cast<chain*>(w->data);
        self.note("first");
        ev_timer_start(ev, &self.second);
      },
      0.001, 0.);
  ev_timer_init(
      &c.second,
      [](struct ev_loop*, ev_timer* w, int) { static_cast<chain*>(w->data)->note("second"); },
      0.001, 0.);
  c.first.data = c.second.data = &c;
  ev_timer_start(loop.native(), &c.first);
  loop.run();
  CHECK(note == "first second");
}

TEST_CASE_FIXTURE(with_loop, "nodes that a libev callback makes ready run in the same turn") {
  struct both {
    eddy::event_loop& loop;
    journal note;
    ev_prepare prepare;
    ev_timer timer;
  } b{loop, {}, {}, {}};
  SUBCASE("a callback before the wait") {
    ev_prepare_init(&b.prepare, [](struct ev_loop* ev, ev_prepare* w, int) {
      auto& self = *static_cast<both*>(w->data);
      self.loop.defer([&self] { self.note("deferred"); });
      ev_prepare_stop(ev, w);
    });
    b.prepare.data = &b;
    ev_prepare_start(loop.native(), &b.prepare);
    loop.run_once();
    CHECK(b.note == "deferred");
  }
  SUBCASE("a callback before the wait, which sets a timer") {
    eddy::timer soon(loop);
    struct sets {
      eddy::timer& soon;
      journal& note;
    } s{soon, b.note};
    ev_prepare_init(&b.prepare, [](struct ev_loop* ev, ev_prepare* w, int) {
      auto& self = *static_cast<sets*>(w->data);
      self.soon.start(1ms, [&self] { self.note("timer"); });
      ev_prepare_stop(ev, w);
    });
    b.prepare.data = &s;
    ev_prepare_start(loop.native(), &b.prepare);
    loop.run();
    CHECK(b.note == "timer");
  }
  SUBCASE("a callback after the wait") {
    ev_timer_init(
        &b.timer,
        [](struct ev_loop*, ev_timer* w, int) {
          auto& self = *static_cast<both*>(w->data);
          self.loop.defer([&self] { self.note("deferred"); });
        },
        0.001, 0.);
    b.timer.data = &b;
    ev_timer_start(loop.native(), &b.timer);
    loop.run_once();
    CHECK(b.note == "deferred");
  }
}

namespace {

/// A prepare and a check watcher that note their calls as `p` and `c`, and do not keep the loop
/// running.
class pair_of_callbacks {
public:
  explicit pair_of_callbacks(struct ev_loop* ev) : ev_(ev) {
    ev_prepare_init(&prepare_, [](struct ev_loop*, ev_prepare* w, int) {
      auto& self = *static_cast<pair_of_callbacks*>(w->data);
      self.calls_ += 'p';
      if (const auto work = std::exchange(self.at_prepare, nullptr)) work();
    });
    ev_check_init(&check_, [](struct ev_loop*, ev_check* w, int) {
      static_cast<pair_of_callbacks*>(w->data)->calls_ += 'c';
    });
    prepare_.data = check_.data = this;
    ev_prepare_start(ev_, &prepare_);
    ev_check_start(ev_, &check_);
    for (int i = 0; i < 2; ++i) ev_unref(ev_);
  }
  pair_of_callbacks(const pair_of_callbacks&) = delete;
  pair_of_callbacks& operator=(const pair_of_callbacks&) = delete;
  ~pair_of_callbacks() {
    for (int i = 0; i < 2; ++i) ev_ref(ev_);
    ev_prepare_stop(ev_, &prepare_);
    ev_check_stop(ev_, &check_);
  }

  std::function<void()> at_prepare;  // once

  /// Checks that both were called alternately: "pcpc".
  void check_turns() const {
    INFO(calls_);
    CHECK(calls_.size() >= 4);
    CHECK(calls_.size() % 2 == 0);
    for (std::size_t i = 0; i < calls_.size(); ++i) CHECK(calls_[i] == "pc"[i % 2]);
  }

private:
  struct ev_loop* ev_;
  ev_prepare prepare_;
  ev_check check_;
  std::string calls_;
};

/// A libev timer that ticks three times.
class three_ticks {
public:
  explicit three_ticks(struct ev_loop* ev) : ev_(ev) {
    ev_timer_init(
        &timer_,
        [](struct ev_loop* on, ev_timer* w, int) {
          if (++static_cast<three_ticks*>(w->data)->count_ == 3) ev_timer_stop(on, w);
        },
        0.001, 0.001);
    timer_.data = this;
    ev_timer_start(ev_, &timer_);
  }
  three_ticks(const three_ticks&) = delete;
  three_ticks& operator=(const three_ticks&) = delete;
  ~three_ticks() { ev_timer_stop(ev_, &timer_); }

  [[nodiscard]] bool over() const { return count_ == 3; }

private:
  struct ev_loop* ev_;
  ev_timer timer_;
  int count_ = 0;
};

}  // namespace

TEST_CASE_TEMPLATE("a prepare and a check watcher are called in pairs around each wait", Loop,
                   hosted_loop, adopted_loop, program_run_loop) {
  Loop on;
  const pair_of_callbacks pairs(on.loop.native());
  SUBCASE("while only libev's own watchers keep the loop running") {
    const three_ticks ticks(on.loop.native());
    on.run();
    CHECK(ticks.over());
  }
  SUBCASE("while a timer of eddy's keeps the loop running") {
    eddy::timer timer(on.loop);
    timer.start(1ms, [] {});
    on.run();
    on.run();
  }
  pairs.check_turns();
}

TEST_CASE_FIXTURE(with_loop, "a loop hosted by poll calls prepare and check in pairs, too") {
  pair_of_callbacks pairs(loop.native());
  const auto host = [&](auto more) {
    for (int rounds = 0; more(); ++rounds) {
      REQUIRE(rounds < 200);
      struct pollfd p{.fd = loop.descriptor(), .events = POLLIN, .revents = 0};
      const auto left = loop.next_run();
      const auto limit = std::chrono::ceil<std::chrono::milliseconds>(left.value_or(20s));
      const int woken = ::poll(&p, 1, static_cast<int>(limit.count()));
      CHECK((woken == 1 || left));
      loop.run_ready();
    }
  };
  SUBCASE("beside timers, of libev and of eddy") {
    const three_ticks ticks(loop.native());
    eddy::timer timer(loop);
    timer.start(5ms, [] {});
    host([&] { return !ticks.over() || timer.active(); });
  }
  SUBCASE("beside descriptors, of a library and of eddy") {
    journal note;
    socket_pair theirs;
    socket_pair ours;
    library lib(note, theirs.near());
    eddy::readiness near(loop, ours.near());
    near.wait_readable([&](std::error_code) { note(ours.receive() + "eddy"); });
    ev_io_start(loop.native(), &lib.io);
    eddy::timer sender(loop);
    sender.start(2ms, [&] { theirs.send(); });
    host([&] { return note == ""; });
    sender.start(2ms, [&] { ours.send(); });
    host([&] { return note == "library"; });
    CHECK(note == "library xeddy");
    CHECK_FALSE(loop.next_run());
    loop.run_ready();
  }
  SUBCASE("and a function that prepare defers makes next_run zero") {
    bool ran = false;
    pairs.at_prepare = [&] { loop.defer([&] { ran = true; }); };
    CHECK(loop.next_run() == eddy::duration::zero());
    loop.run_ready();
    CHECK(ran);
    loop.run_ready();
  }
  SUBCASE("and run may run it in between") {
    CHECK_FALSE(loop.next_run());
    eddy::timer timer(loop);
    timer.start(1ms, [] {});
    loop.run();
    CHECK_FALSE(loop.next_run());
    loop.run();
  }
  SUBCASE("and an exception of prepare leaves next_run") {
    loop.run_ready();
    pairs.at_prepare = [] { throw std::runtime_error("prepare"); };
    CHECK_THROWS_WITH(static_cast<void>(loop.next_run()), "prepare");
    const three_ticks ticks(loop.native());
    host([&] { return !ticks.over(); });
    return;  // this prepare had no check
  }
  pairs.check_turns();
}

namespace {

/// The example of libev's manual for libraries with a wait of their own: it watches
/// their descriptor and their timeout from prepare to check.
class library_of_the_manual {
public:
  library_of_the_manual(struct ev_loop* ev, const socket_pair& pair) : ev_(ev), pair_(pair) {
    ev_prepare_init(&prepare_, [](struct ev_loop* on, ev_prepare* w, int) {
      auto& self = *static_cast<library_of_the_manual*>(w->data);
      ev_timer_init(&self.timer_, [](struct ev_loop*, ev_timer*, int) {}, 10., 0.);
      ev_timer_start(on, &self.timer_);
      ev_io_init(&self.io_, [](struct ev_loop*, ev_io*, int) {}, self.pair_.near(), EV_READ);
      ev_io_start(on, &self.io_);
    });
    ev_check_init(&check_, [](struct ev_loop* on, ev_check* w, int) {
      auto& self = *static_cast<library_of_the_manual*>(w->data);
      if ((ev_clear_pending(on, &self.io_) & EV_READ) != 0) self.bytes += self.pair_.receive();
      ev_timer_stop(on, &self.timer_);
      ev_io_stop(on, &self.io_);
    });
    prepare_.data = check_.data = this;
    ev_prepare_start(ev_, &prepare_);
    ev_check_start(ev_, &check_);
  }
  library_of_the_manual(const library_of_the_manual&) = delete;
  library_of_the_manual& operator=(const library_of_the_manual&) = delete;
  ~library_of_the_manual() {
    ev_prepare_stop(ev_, &prepare_);
    ev_check_stop(ev_, &check_);
  }

  std::string bytes;

private:
  struct ev_loop* ev_;
  const socket_pair& pair_;
  ev_prepare prepare_;
  ev_check check_;
  ev_timer timer_;
  ev_io io_;
};

}  // namespace

TEST_CASE_FIXTURE(with_loop, "a library may watch from prepare to check") {
  socket_pair pair;
  library_of_the_manual lib(loop.native(), pair);
  eddy::timer sender(loop);
  int sent = 0;
  sender.start_every(2ms, [&] {
    pair.send();
    if (++sent == 5) sender.stop();
  });
  ::alarm(20);
  SUBCASE("when run runs the loop") {
    while (lib.bytes.size() < 5) loop.run_once();
  }
  SUBCASE("when poll hosts the loop") {
    int rounds = 0;
    for (; lib.bytes.size() < 5; ++rounds) {
      struct pollfd p{.fd = loop.descriptor(), .events = POLLIN, .revents = 0};
      const auto left = loop.next_run();
      REQUIRE(left);  // the library's timeout
      CHECK(*left <= 11s);
      const auto limit = std::chrono::ceil<std::chrono::milliseconds>(*left);
      ::poll(&p, 1, static_cast<int>(limit.count()));
      loop.run_ready();
    }
    CHECK(rounds < 50);
    loop.run_ready();
  }
  ::alarm(0);
  CHECK(lib.bytes == "xxxxx");
}

TEST_CASE_TEMPLATE("stop in a libev callback before the wait ends run without that wait", Loop,
                   hosted_loop, adopted_loop, program_run_loop) {
  Loop on;
  struct ev_loop* const ev = on.loop.native();
  ev_timer never;
  ev_timer_init(&never, [](struct ev_loop*, ev_timer*, int) {}, 1000., 0.);
  ev_timer_start(ev, &never);
  ev_prepare prepare;
  ev_prepare_init(&prepare, [](struct ev_loop*, ev_prepare* w, int) {
    static_cast<eddy::event_loop*>(w->data)->stop();
  });
  prepare.data = &on.loop;
  SUBCASE("a prepare callback") { ev_prepare_start(ev, &prepare); }
  SUBCASE("an event that the program feeds") { ev_feed_event(ev, &prepare, EV_CUSTOM); }
  ::alarm(20);
  on.run();
  ::alarm(0);
  ev_prepare_stop(ev, &prepare);
  ev_timer_stop(ev, &never);
}

TEST_CASE_TEMPLATE("a libev callback before the wait may stop eddy's last watcher", Loop,
                   hosted_loop, adopted_loop, program_run_loop) {
  Loop on;
  struct ev_loop* const ev = on.loop.native();
  eddy::timer timer(on.loop);
  timer.start(1000s, [] {});
  ev_prepare prepare;
  ev_prepare_init(&prepare, [](struct ev_loop* running, ev_prepare* w, int) {
    static_cast<eddy::timer*>(w->data)->stop();
    ev_prepare_stop(running, w);
  });
  prepare.data = &timer;
  ev_prepare_start(ev, &prepare);
  ::alarm(20);
  on.run();
  ::alarm(0);
  CHECK_FALSE(timer.active());
}

TEST_CASE_TEMPLATE("a libev callback that runs the loop delays eddy's work, and nothing spins",
                   Loop, hosted_loop, adopted_loop) {
  Loop on;
  struct waits {
    waits() {
      ev_timer_init(
          &end, [](struct ev_loop* e, ev_timer*, int) { ev_break(e, EVBREAK_ONE); }, 0.05, 0.);
      ev_timer_init(
          &outer,
          [](struct ev_loop* e, ev_timer* w, int) {
            auto& self = *static_cast<waits*>(w->data);
            self.pair.send();
            ev_now_update(e);
            ev_timer_start(e, &self.end);
            const unsigned before = ev_iteration(e);
            ev_run(e, 0);
            self.looks = ev_iteration(e) - before;
            self.note("nested");
          },
          0.001, 0.);
      outer.data = this;
    }
    socket_pair pair;
    journal note;
    unsigned looks = 0;
    ev_timer end;
    ev_timer outer;
  } w;
  eddy::readiness near(on.loop, w.pair.near());
  near.wait_readable([&](std::error_code) { w.note("readable"); });
  eddy::timer timer(on.loop);
  timer.start(10ms, [&] { w.note("timer"); });
  on.loop.post([&] {
    w.note("posted");
    ev_timer_start(on.loop.native(), &w.outer);
  });
  on.run();
  CHECK(w.looks > 0);
  CHECK(w.looks < 20);
  CHECK(w.note == "posted nested timer readable");
}

TEST_CASE_FIXTURE(tidy, "ev_run on the native loop of a loop that eddy made aborts") {
  constexpr const char* sentence = "ev_run was called on the native loop";
  dies_saying(sentence, [] {
    eddy::event_loop loop;
    ev_run(loop.native(), 0);
  });
  dies_saying(sentence, [] {
    eddy::event_loop loop;
    loop.defer([&] { ev_run(loop.native(), EVRUN_NOWAIT); });
    loop.run();
  });
}

TEST_CASE_FIXTURE(with_loop, "a libev timer fires in time beside a descriptor that waits") {
  // Without timers on libev's loop, libev waits without a limit.
  socket_pair pair;
  eddy::readiness near(loop, pair.near());
  near.wait_readable([](std::error_code) {});
  eddy::timer sender(loop);
  sender.start(1ms, [&] { pair.send(); });
  loop.run();

  journal note;
  near.wait_readable([](std::error_code) {});
  near.background(true);
  ev_timer own;
  ev_periodic wall;
  const auto init = [&](double after) {
    ev_timer_init(
        &own, [](struct ev_loop*, ev_timer* w, int) { (*static_cast<journal*>(w->data))("own"); },
        after, 0.);
    own.data = &note;
  };
  SUBCASE("started outside") {
    init(0.02);
    ev_timer_start(loop.native(), &own);
  }
  SUBCASE("started in a handler") {
    init(0.02);
    loop.defer([&] { ev_timer_start(loop.native(), &own); });
  }
  SUBCASE("of the wall clock") {
    ev_periodic_init(
        &wall,
        [](struct ev_loop*, ev_periodic* w, int) { (*static_cast<journal*>(w->data))("own"); },
        ev_time() + 0.02, 0., nullptr);
    wall.data = &note;
    ev_periodic_start(loop.native(), &wall);
  }
  ::alarm(20);
  loop.run();
  ::alarm(0);
  CHECK(note == "own");
  near.stop();
}

TEST_CASE_FIXTURE(with_loop, "a loop hosted by poll knows the watchers of others on libev's loop") {
  journal note;
  socket_pair pair;
  library lib(note, pair.near());
  ev_timer timer;
  ev_idle idle;
  loop.run_ready();
  loop.run_ready();
  SUBCASE("a descriptor that is watched from outside") {
    pair.send();
    ev_io_start(loop.native(), &lib.io);
    poll_until(loop, note, "library");
  }
  SUBCASE("a descriptor that is watched from a handler, and becomes ready later") {
    loop.defer([&] { ev_io_start(loop.native(), &lib.io); });
    eddy::timer sender(loop);
    sender.start(5ms, [&] { pair.send(); });
    poll_until(loop, note, "library");
  }
  SUBCASE("a timer") {
    ev_timer_init(
        &timer, [](struct ev_loop*, ev_timer* w, int) { (*static_cast<journal*>(w->data))("own"); },
        0.02, 0.);
    timer.data = &note;
    ev_timer_start(loop.native(), &timer);
    const auto left = loop.next_run();
    REQUIRE(left);
    CHECK(*left > 0ms);
    CHECK(*left <= 21ms);
    poll_until(loop, note, "own");
  }
  SUBCASE("an idle watcher") {
    ev_idle_init(&idle, [](struct ev_loop* ev, ev_idle* w, int) {
      ev_idle_stop(ev, w);
      (*static_cast<journal*>(w->data))("idle");
    });
    idle.data = &note;
    ev_idle_start(loop.native(), &idle);
    CHECK(loop.next_run() == eddy::duration::zero());
    poll_until(loop, note, "idle");
  }
  CHECK_FALSE(loop.next_run());
  CHECK(loop.count().ready == 0);
}

TEST_CASE_FIXTURE(with_loop, "next_run is the first of many libev timers") {
  std::vector<ev_timer> timers(100);
  for (std::size_t i = 0; i < timers.size(); ++i) {
    ev_timer_init(
        &timers[i], [](struct ev_loop*, ev_timer*, int) {},
        10. + static_cast<double>((i * 37) % 100), 0.);
    ev_timer_start(loop.native(), &timers[i]);
  }
  const auto left = loop.next_run();
  REQUIRE(left);
  CHECK(*left > 9s);
  CHECK(*left < 11s);
  eddy::timer own(loop);
  own.start(5s, [] {});
  CHECK(*loop.next_run() <= 5s);
  own.stop();
  for (ev_timer& t : timers) ev_timer_stop(loop.native(), &t);
  CHECK_FALSE(loop.next_run());
}

TEST_CASE_FIXTURE(tidy, "next_run knows a libev watcher of the distant future") {
  eddy::event_loop loop;
  ev_timer never;
  ev_timer_init(&never, [](struct ev_loop*, ev_timer*, int) {}, 1e14, 0.);
  ev_timer_start(loop.native(), &never);
  const auto left = loop.next_run();
  REQUIRE(left);
  CHECK(*left > 1h);
  ev_timer_stop(loop.native(), &never);
}

TEST_CASE_FIXTURE(tidy, "a new loop's descriptor reports a post") {
  eddy::event_loop loop;
  struct pollfd p{.fd = loop.descriptor(), .events = POLLIN, .revents = 0};
  bool ran = false;
  loop.post([&] { ran = true; });
  CHECK(::poll(&p, 1, 2000) == 1);
  loop.run_ready();
  CHECK(ran);
  CHECK(::poll(&p, 1, 0) == 0);
}

namespace {

long allocations = 0;

void* counting(void* old, long size) noexcept {
  ++allocations;
  if (size != 0) return std::realloc(old, static_cast<std::size_t>(size));
  std::free(old);
  return nullptr;
}

}  // namespace

TEST_CASE_FIXTURE(tidy, "libev's allocator stays the program's") {
  CHECK(holds_in_child([] {
    ev_set_allocator(&counting);
    eddy::event_loop loop;
    const long before = allocations;
    static_cast<void>(loop.native());
    std::vector<ev_timer> timers(3000);
    for (ev_timer& t : timers) {
      ev_timer_init(&t, [](struct ev_loop*, ev_timer*, int) {}, 100., 0.);
      ev_timer_start(loop.native(), &t);
    }
    return allocations > before;
  }));
}

TEST_CASE_FIXTURE(tidy, "libev's error callback stays the program's") {
  CHECK(holds_in_child([] {
    ev_set_syserr_cb([](const char*) noexcept { ::_exit(0); });
    eddy::event_loop loop;
    socket_pair pair;
    eddy::readiness near(loop, pair.near());
    near.wait_readable([](std::error_code) {});
    ::close(loop.descriptor());
    loop.run();
    return false;  // the callback has ended the process
  }));
}

TEST_CASE_TEMPLATE("a library's watcher works on a descriptor that eddy watched in between", Loop,
                   hosted_loop, adopted_loop, program_run_loop) {
  Loop on;
  struct ev_loop* const ev = on.loop.native();
  journal note;
  socket_pair pair;
  library lib(note, pair.near());
  ev_io_start(ev, &lib.io);
  on.loop.run_ready();
  ev_io_stop(ev, &lib.io);
  {
    eddy::readiness near(on.loop, pair.near());
    near.wait_readable([](std::error_code) {});
    on.loop.run_ready();
  }
  // Without ev_io_set: libraries set a watcher once, and start and stop it often.
  ev_io_start(ev, &lib.io);
  pair.send();
  ::alarm(20);
  on.run();
  ::alarm(0);
  CHECK(note == "library");
}

// ---- Adopting

TEST_CASE_FIXTURE(program_loop, "a second event_loop on one ev_loop aborts") {
  eddy::event_loop loop(ev);
  dies_saying("a second event_loop was made on one ev_loop",
              [&] { const eddy::event_loop second(ev); });
  eddy::event_loop own;
  dies_saying("a second event_loop was made on one ev_loop",
              [&] { const eddy::event_loop second(own.native()); });
}

TEST_CASE_FIXTURE(program_loop,
                  "an ev_loop may be adopted again after its event_loop is destroyed") {
  for (int times = 0; times < 3; ++times) {
    eddy::event_loop loop(ev);
    bool ran = false;
    loop.defer([&] { ran = true; });
    ev_run(ev, 0);
    CHECK(ran);
  }
}

TEST_CASE_FIXTURE(tidy, "adopting a null ev_loop aborts") {
  dies_saying("event_loop was given a null ev_loop", [] {
    struct ev_loop* const none = nullptr;
    const eddy::event_loop loop(none);
  });
}

TEST_CASE_FIXTURE(program_loop, "a program's loop that eddy uses gets no descriptor of libev's") {
  const socket_pair pair;
  const std::size_t before = open_descriptors();
  {
    eddy::event_loop loop(ev);
    eddy::readiness watched(loop, pair.near());
    watched.wait_writable([](std::error_code) {});
    ev_run(ev, 0);
    constexpr std::size_t own = 2;  // to wake the loop, and for its timers
    CHECK(open_descriptors() == before + own);
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE_FIXTURE(tidy, "a destroyed event_loop leaves nothing in the program's epoll set") {
  struct ev_loop* const ev = ev_loop_new(EVBACKEND_EPOLL);
  int set = -1;
  std::optional<eddy::loop_handle> way_in;
  {
    eddy::event_loop loop(ev);
    set = loop.descriptor();
    way_in = loop.handle();  // keeps the loop's wake-up descriptor open
    ev_run(ev, EVRUN_NOWAIT);
    loop.post([] {});
  }
  epoll_event left{};
  CHECK(::epoll_wait(set, &left, 1, 0) == 0);
  way_in.reset();
  ev_loop_destroy(ev);
}

TEST_CASE_FIXTURE(tidy, "libev's default loop, which reaps all children, loses no status") {
  // In a child: libev's handler for SIGCHLD stays.
  CHECK(holds_in_child([] {
    struct ev_loop* const ev = ev_default_loop(EVBACKEND_EPOLL);
    int right = 0;
    {
      eddy::event_loop loop(ev);
      const auto start = [](int code) {
        const ::pid_t pid = ::fork();
        if (pid == 0) ::_exit(code);
        return pid;
      };
      const auto count = [&right](int code) {
        return [&right, code](eddy::result<eddy::exit_status> end) {
          if (end && end->code == code) ++right;
        };
      };
      // The status arrives during a wait, ...
      std::vector<std::unique_ptr<eddy::child_process>> all;
      for (int code = 1; code <= 20; ++code) {
        all.push_back(std::make_unique<eddy::child_process>(loop, start(code)));
        all.back()->start(count(code));
      }
      ev_run(ev, 0);
      // ... before the wait, ...
      const ::pid_t pid = start(42);
      eddy::child_process early(loop, pid);
      eddy::timer turns(loop);
      turns.start(50ms, [] {});
      ev_run(ev, 0);
      early.start(count(42));
      ev_run(ev, 0);
      // ... and before the `child_process` is made.
      const ::pid_t gone = start(43);
      turns.start(50ms, [] {});
      ev_run(ev, 0);
      {
        const eddy::child_process unused(loop, gone);
      }
      {
        eddy::child_process dropped(loop, gone);
        dropped.start(count(43));
      }
      {
        eddy::child_process stopped(loop, gone);
        stopped.start(count(43));
        stopped.stop();
      }
      eddy::child_process late(loop, gone);
      late.start(count(43));
      ev_run(ev, 0);
      bool refused = false;
      try {
        eddy::child_process again(loop, gone);
      } catch (const std::system_error&) {
        refused = true;
      }
      right += refused ? 1 : 0;
    }
    ev_loop_destroy(ev);
    return right == 23;
  }));
}

// ---- What would stop the program in libev

TEST_CASE_TEMPLATE("a copy of a closed descriptor makes no loop spin", Loop, ANY_LOOP) {
  Loop on;
  socket_pair pair;
  auto near = std::make_unique<eddy::readiness>(on.loop, pair.near());
  near->wait_readable([](std::error_code) {});
  on.loop.run_ready();
  const int copy = ::dup(pair.near());
  SUBCASE("not watched any more when it is closed") {
    near.reset();
    pair.close_near();
  }
  SUBCASE("closed under the watch") {
    pair.close_near();
    near.reset();
  }
  pair.send();
  int turns = 0;
  eddy::timer end(on.loop);
  end.start(50ms, [] {});
  while (end.active() && turns < 1000) {
    ++turns;
    on.loop.run_once();
  }
  CHECK(turns < 10);
  end.stop();
  ::close(copy);
}

TEST_CASE_TEMPLATE(
    "a reused descriptor number works at once, with or without a copy of the old descriptor", Loop,
    ANY_LOOP) {
  for (const bool copied : {false, true}) {
    Loop on;
    journal note;
    socket_pair old;
    eddy::readiness first(on.loop, old.near());
    first.wait_readable([&](std::error_code e) { note(e ? "told" : "wrong"); });
    on.loop.run_ready();
    const int copy = copied ? ::dup(old.near()) : -1;
    const int number = old.near();
    old.close_near();
    {
      socket_pair fresh;
      REQUIRE(fresh.near() == number);
      eddy::readiness second(on.loop, number);
      second.wait_readable([&](std::error_code e) { note(e ? "wrong" : fresh.receive().c_str()); });
      eddy::timer sender(on.loop);
      sender.start(1ms, [&] { fresh.send("fresh"); });
      on.run();
    }
    CHECK(note == "told fresh");
    if (copied) ::close(copy);
  }
}

TEST_CASE_TEMPLATE("a round that a library ends by ev_break has shown the kernel nothing", Loop,
                   ANY_LOOP) {
  Loop on;
  const socket_pair pair;
  journal note;
  eddy::readiness watch(on.loop, pair.near());
  watch.wait_readable([&](std::error_code e) { note(e ? "wrong" : pair.receive().c_str()); });
  ev_prepare breaker;
  ev_prepare_init(&breaker, [](struct ev_loop* ev, ev_prepare* self, int) {
    ev_prepare_stop(ev, self);
    ev_break(ev, EVBREAK_ONE);
  });
  ev_prepare_start(on.loop.native(), &breaker);
  on.loop.run_ready();
  CHECK_FALSE(ev_is_active(&breaker));
  watch.wait_writable([&](std::error_code e) { note(e ? "wrong" : "writable"); });
  on.loop.run_ready();
  on.loop.run_ready();
  pair.send("read");
  on.run();
  CHECK(note == "writable read");
}

TEST_CASE_TEMPLATE("an event that is fed to libev completes a wait, and so does the kernel's", Loop,
                   ANY_LOOP) {
  Loop on;
  const socket_pair pair;
  journal note;
  eddy::readiness watch(on.loop, pair.near());
  watch.wait_readable([&](std::error_code e) { note(e ? "wrong" : "fed"); });
  ev_feed_fd_event(on.loop.native(), pair.near(), EV_READ);
  on.loop.run_ready();
  CHECK(note == "fed");
  watch.wait_readable([&](std::error_code e) { note(e ? "wrong" : pair.receive().c_str()); });
  eddy::readiness other(on.loop, pair.near());
  other.wait_writable([&](std::error_code e) { note(e ? "wrong" : "writable"); });
  on.loop.run_ready();
  pair.send("read");
  on.run();
  CHECK(note == "fed writable read");
}

TEST_CASE_TEMPLATE("a library may close watched descriptors when libev makes a new set", Loop,
                   ANY_LOOP) {
  Loop on;
  socket_pair pair;
  std::error_code got;
  eddy::readiness watch(on.loop, pair.near());
  watch.wait_readable([&](std::error_code error) { got = error; });
  on.loop.run_ready();
  struct closer : ev_prepare {
    socket_pair* pair;
  } prepare;
  prepare.pair = &pair;
  ev_prepare_init(&prepare, [](struct ev_loop* ev, ev_prepare* self, int) {
    ev_prepare_stop(ev, self);
    static_cast<closer*>(self)->pair->close_near();
  });
  ev_prepare_start(on.loop.native(), &prepare);
  ev_loop_fork(on.loop.native());
  on.run();
  CHECK(got == std::errc::bad_file_descriptor);
}

TEST_CASE_TEMPLATE("a closed number may become a descriptor of libev's own", Loop, ANY_LOOP) {
  // libev closes such a descriptor, and opens another, when it makes a new set.
  Loop on;
  const int lower = ::fcntl(0, F_DUPFD_CLOEXEC, 0);
  socket_pair pair;
  std::error_code got;
  eddy::readiness watch(on.loop, pair.near());
  watch.wait_readable([&](std::error_code error) { got = error; });
  on.loop.run_ready();
  const int number = pair.near();
  pair.close_near();
  ev_stat file;
  ev_stat_init(&file, [](struct ev_loop*, ev_stat*, int) {}, "/dev/null", 0.);
  ev_stat_start(on.loop.native(), &file);
  REQUIRE(::fcntl(number, F_GETFD) >= 0);
  on.loop.run_ready();
  ::close(lower);
  ev_loop_fork(on.loop.native());
  on.loop.run_ready();
  on.loop.run_ready();
  CHECK(got == std::errc::bad_file_descriptor);
  ev_stat_stop(on.loop.native(), &file);
}

TEST_CASE_TEMPLATE("one of two watches of a closed descriptor may be destroyed", Loop, ANY_LOOP) {
  Loop on;
  socket_pair pair;
  journal note;
  auto reader = std::make_unique<eddy::readiness>(on.loop, pair.near());
  eddy::readiness writer(on.loop, pair.near());
  pair.fill();
  reader->wait_readable([](std::error_code) {});
  writer.wait_writable([&](std::error_code e) { note(e ? "told" : "wrong"); });
  on.loop.run_ready();
  pair.close_near();
  reader.reset();
  on.run();
  CHECK(note == "told");
}

TEST_CASE_TEMPLATE("libev has the memory that it needs when none is left", Loop, ANY_LOOP) {
  // libev ends the program if it cannot grow a table of its own. So does a sanitizer's malloc.
  if (SANITIZED != 0) return;
  CHECK(holds_in_child([] {
    auto& on = *new Loop;
    constexpr int count = 40;  // ready in one round
    static std::optional<socket_pair> pairs[count];
    static std::optional<eddy::readiness> waits[count];
    static int told = 0;
    for (int i = 0; i < count; ++i) {
      pairs[i].emplace();
      const int high = ::fcntl(pairs[i]->near(), F_DUPFD_CLOEXEC, 900 - 7 * i);
      waits[i].emplace(on.loop, high);
      waits[i]->wait_readable([](std::error_code e) { told += e ? 0 : 1; });
    }
    const rlimit none{1, 1};
    ::setrlimit(RLIMIT_AS, &none);
    for (std::size_t size = 1 << 20; size >= 16; size /= 2) {
      for (bool more = true; more;) {
        void* const block = std::malloc(size);
        asm volatile("" : : "r"(block));  // or clang would not call malloc at all
        more = block != nullptr;
      }
    }
    for (int i = 0; i < count; ++i) pairs[i]->send();
    on.run();
    for (int i = 0; i < count; ++i) waits[i].reset();
    ::_exit(told == count ? 0 : 1);
    return true;
  }));
}

TEST_CASE_FIXTURE(tidy, "a destroyed event_loop leaves no timer in the program's epoll set") {
  struct ev_loop* const ev = ev_loop_new(EVBACKEND_EPOLL);
  int set = -1;
  int copy = -1;  // as the child of a fork may have one
  {
    eddy::event_loop loop(ev);
    set = loop.descriptor();
    for (int number = 0; number < 1024 && copy < 0; ++number) {
      char name[64] = {};
      const std::string path = "/proc/self/fd/" + std::to_string(number);
      if (::readlink(path.c_str(), name, sizeof name - 1) > 0 &&
          std::string(name) == "anon_inode:[timerfd]") {
        copy = ::fcntl(number, F_DUPFD_CLOEXEC, 0);
      }
    }
    REQUIRE(copy >= 0);
    ev_run(ev, EVRUN_NOWAIT);
  }
  itimerspec soon{};
  soon.it_value.tv_nsec = 1;
  ::timerfd_settime(copy, 0, &soon, nullptr);
  struct pollfd p{.fd = copy, .events = POLLIN, .revents = 0};
  REQUIRE(::poll(&p, 1, -1) == 1);
  epoll_event left{};
  CHECK(::epoll_wait(set, &left, 1, 0) == 0);
  ::close(copy);
  ev_loop_destroy(ev);
}

TEST_CASE_FIXTURE(tidy, "the last 1,024 children that libev has reaped are known") {
  CHECK(holds_in_child([] {
    struct ev_loop* const ev = ev_default_loop(EVBACKEND_EPOLL);
    eddy::event_loop loop(ev);
    std::vector<::pid_t> gone;
    while (gone.size() != 1025) {
      gone.push_back(::fork());
      if (gone.back() == 0) ::_exit(0);
      siginfo_t info{};
      ::waitid(P_PID, static_cast<::id_t>(gone.back()), &info, WEXITED | WNOWAIT);
      while (::kill(gone.back(), 0) == 0) ev_run(ev, EVRUN_NOWAIT);
    }
    const auto known = [&](::pid_t pid) {
      try {
        const eddy::child_process child(loop, pid);
        return true;
      } catch (const std::system_error&) {
        return false;
      }
    };
    return !known(gone.front()) && known(gone[1]) && known(gone.back());
  }));
}

TEST_CASE_FIXTURE(
    tidy, "in the child of a fork, the end of a sibling that libev has reaped is an error") {
  CHECK(holds_in_child([] {
    struct ev_loop* const ev = ev_default_loop(EVBACKEND_EPOLL);
    eddy::event_loop loop(ev);
    const ::pid_t pid = ::fork();
    if (pid == 0) ::_exit(5);
    eddy::child_process early(loop, pid);
    const ::pid_t other = ::fork();
    if (other == 0) ::_exit(5);
    for (const ::pid_t each : {pid, other}) {
      while (::kill(each, 0) == 0) ev_run(ev, EVRUN_NOWAIT);
    }
    eddy::child_process late(loop, other);
    int told = 0;
    int refused = 0;
    const auto count = [&](const eddy::result<eddy::exit_status>& end) {
      if (end && end->code == 5) ++told;
      if (!end && end.error() == std::errc::no_child_process) ++refused;
    };
    early.start(count);
    late.start(count);
    const ::pid_t sibling = start_forked([&] {
      loop.run();
      return told == 0 && refused == 2;
    });
    if (end_of(sibling) != 0) return false;
    loop.run();
    return told == 2 && refused == 0;
  }));
}

TEST_CASE_FIXTURE(tidy, "libev's default loop is as it was after its event_loop is destroyed") {
  CHECK(holds_in_child([] {
    struct ev_loop* const ev = ev_default_loop(EVBACKEND_EPOLL);
    {
      const eddy::event_loop loop(ev);
    }
    bool rang = false;
    ev_timer own;
    ev_timer_init(
        &own, [](struct ev_loop*, ev_timer* w, int) { *static_cast<bool*>(w->data) = true; }, 0.002,
        0.);
    own.data = &rang;
    ev_timer_start(ev, &own);
    ev_run(ev, 0);
    return rang;
  }));
}

TEST_CASE_FIXTURE(program_loop, "an idle watcher of any priority makes next_run zero") {
  eddy::event_loop loop(ev);
  loop.run_ready();
  for (int priority = EV_MINPRI; priority <= EV_MAXPRI; ++priority) {
    INFO(priority);
    ev_idle own;
    ev_idle_init(&own, [](struct ev_loop*, ev_idle*, int) {});
    ev_set_priority(&own, priority);
    ev_idle_start(ev, &own);
    CHECK(loop.next_run() == 0ns);
    ev_idle_stop(ev, &own);
  }
}

TEST_CASE_FIXTURE(program_loop, "next_run of an adopted loop counts from now") {
  eddy::event_loop loop(ev);
  ev_timer own;
  ev_timer_init(&own, [](struct ev_loop*, ev_timer*, int) {}, 10., 0.);
  ev_timer_start(ev, &own);
  ev_run(ev, EVRUN_NOWAIT);
  const auto start = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() < start + 10ms) {
  }
  const auto left = loop.next_run();
  REQUIRE(left);
  CHECK(*left < 10s - 5ms);
  ev_timer_stop(ev, &own);
}
