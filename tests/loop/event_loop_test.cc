// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/event_loop.h>.
#include <eddy/loop/event_loop.h>

#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <ev.h>
#include <sys/resource.h>
#include <unistd.h>

#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/file_watch.h>
#include <eddy/loop/readiness.h>
#include <eddy/loop/several_errors.h>
#include <eddy/loop/signal.h>
#include <eddy/loop/timer.h>
#include <eddy/loop/work_guard.h>
#include <eddy/testing/failing_new.h>

#include "support/any_loop.h"
#include "support/at_end.h"
#include "support/counted.h"
#include "support/epoll_refusal.h"
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

eddy::duration processor_time() {
  struct rusage used{};
  ::getrusage(RUSAGE_THREAD, &used);
  return std::chrono::seconds(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         std::chrono::microseconds(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

}  // namespace

// ---- One turn

TEST_CASE_TEMPLATE("a turn runs timers by deadline, then descriptors, posts, and the ready queue",
                   Loop, ANY_LOOP) {
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
  CHECK(note == "early late second first posted deferred");
}

// On a clock that stands still, because on a busy machine a turn may also end by time.
TEST_CASE_FIXTURE(with_still_loop, "a turn runs `budget` entries and no more") {
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

TEST_CASE_FIXTURE(with_loop, "after end_turn the other entries wait for the next turn") {
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

TEST_CASE_FIXTURE(with_loop, "run_once waits if a timer keeps the loop alive, and runs one turn") {
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

TEST_CASE_TEMPLATE("run_ready never waits, and returns whether it ran anything", Loop, own_loop,
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

TEST_CASE_TEMPLATE("stop ends run after the running handler, and keeps the queue", Loop, ANY_LOOP) {
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

TEST_CASE_TEMPLATE("a stop while the loop does not run ends the next run before any handler", Loop,
                   own_loop, hosted_loop, adopted_loop) {
  Loop on;
  bool ran = false;
  on.loop.stop();
  on.loop.defer([&] { ran = true; });
  on.loop.run();
  CHECK_FALSE(ran);
  CHECK(on.loop.stopped());
  on.loop.run();
  CHECK(ran);
  CHECK_FALSE(on.loop.stopped());
}

TEST_CASE_TEMPLATE("run_once does not use up a stop for the next run", Loop, own_loop,
                   adopted_loop) {
  for (const bool once : {false, true}) {
    for (const bool handler_stops : {false, true}) {
      INFO(once, handler_stops);
      Loop on;
      bool ran = false;
      on.loop.stop();
      on.loop.defer([&] {
        if (handler_stops) on.loop.stop();
      });
      once ? on.loop.run_once() : static_cast<void>(on.loop.run_ready());
      on.loop.defer([&] { ran = true; });
      on.loop.run();
      CHECK_FALSE(ran);
      on.loop.run();
      CHECK(ran);
    }
  }
}

TEST_CASE_TEMPLATE("a handler that stops the loop may end the turn as well", Loop, ANY_LOOP) {
  Loop on;
  bool ran = false;
  on.loop.defer([&] {
    on.loop.stop();
    on.loop.end_turn();
  });
  on.loop.defer([&] { ran = true; });
  on.run();
  CHECK_FALSE(ran);
  on.run();
  CHECK(ran);
}

TEST_CASE_FIXTURE(with_loop, "current returns the running loop, also when loops are nested") {
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

TEST_CASE_TEMPLATE("on_exception receives what handlers throw, and the loop goes on", Loop,
                   ANY_LOOP) {
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

TEST_CASE_FIXTURE(with_loop, "the function of on_exception may replace itself") {
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

TEST_CASE_FIXTURE(with_loop, "a raised error leaves run in the next turn") {
  loop.raise(std::make_exception_ptr(std::runtime_error("nobody's")));
  CHECK_THROWS_WITH_AS(loop.run(), "nobody's", std::runtime_error);
}

TEST_CASE_FIXTURE(with_loop, "a raised error leaves run even if no memory is free") {
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

TEST_CASE_FIXTURE(tidy, "an error raised without memory may remain until the loop is destroyed") {
  using failing = eddy::detail::failing_allocations;
  const auto error = std::make_exception_ptr(std::runtime_error("nobody's"));
  eddy::event_loop loop;
  const failing all(0, failing::times::for_good);
  loop.raise(error);
}

// ---- Misuse

TEST_CASE_FIXTURE(tidy, "running a loop from its own handler aborts") {
  dies_saying("run from one of its own handlers", [] {
    eddy::event_loop loop;
    loop.defer([&] { loop.run(); });
    loop.run();
  });
}

TEST_CASE_FIXTURE(tidy, "destroying a loop from its own handler aborts") {
  dies_saying("destroyed from one of its own handlers", [] {
    std::optional<eddy::event_loop> loop(std::in_place);
    loop->defer([&] { loop.reset(); });
    loop->run();
  });
}

TEST_CASE_FIXTURE(tidy, "using an adopted loop on another thread aborts") {
  dies_saying("use event_loop::post", [] {
    adopted_loop on;
    on.loop.defer([] {});
    on.loop.run();
    std::thread([&] { on.loop.defer([] {}); }).join();
  });
}

TEST_CASE_FIXTURE(tidy, "using a running loop on another thread aborts") {
  dies_saying("use event_loop::post", [] {
    eddy::event_loop loop;
    loop.defer([&] { std::thread([&] { loop.defer([] {}); }).join(); });
    loop.run();
  });
  dies_saying("use event_loop::post", [] {
    eddy::event_loop loop;
    eddy::timer timer(loop);
    loop.defer([&] { std::thread([&] { timer.start(1s, [] {}); }).join(); });
    loop.run();
  });
}

TEST_CASE_FIXTURE(tidy, "moving or asking a started watcher on another thread aborts") {
  const auto dies_at = [](auto mistake) {
    dies_saying("use event_loop::post", [&] {
      adopted_loop on;
      on.loop.run_ready();
      mistake(on.loop, [](auto from_there) { std::thread(from_there).join(); });
    });
  };
  dies_at([](eddy::event_loop& loop, auto elsewhere) {
    eddy::timer started(loop);
    started.start(1h, [] {});
    elsewhere([&] { const eddy::timer moved(std::move(started)); });
  });
  dies_at([](eddy::event_loop& loop, auto elsewhere) {
    eddy::timer started(loop);
    started.start(1h, [] {});
    elsewhere([&] { static_cast<void>(started.active()); });
  });
  dies_at([](eddy::event_loop& loop, auto elsewhere) {
    eddy::signal started(loop, SIGUSR1);
    started.start([] {});
    elsewhere([&] { const eddy::signal moved(std::move(started)); });
  });
  dies_at([](eddy::event_loop& loop, auto elsewhere) {
    eddy::file_watch started(loop, "/");
    started.start([](const eddy::file_event&) {});
    elsewhere([&] { const eddy::file_watch moved(std::move(started)); });
  });
  dies_at([](eddy::event_loop& loop, auto elsewhere) {
    const socket_pair pair;
    eddy::readiness started(loop, pair.near());
    elsewhere([&] { static_cast<void>(started.error()); });
  });
  dies_at([](eddy::event_loop& loop, auto elsewhere) {
    const socket_pair pair;
    eddy::readiness started(loop, pair.near());
    elsewhere([&] { const eddy::readiness moved(std::move(started)); });
  });
}

TEST_CASE_FIXTURE(tidy, "running a loop while it is being destroyed aborts") {
  struct runs_it {
    eddy::event_loop* loop;
    ~runs_it() { loop->run_ready(); }
  };
  dies_saying("a loop was run while it was being destroyed", [] {
    eddy::event_loop loop;
    loop.defer([last = std::make_shared<runs_it>(&loop)] {});
  });
}

TEST_CASE_FIXTURE(tidy, "passing a null handler aborts") {
  dies_saying("event_loop::defer was given a handler that is null", [] {
    eddy::event_loop loop;
    loop.defer(nullptr);
  });
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

TEST_CASE_FIXTURE(tidy, "a loop that finds too few free descriptors is an error, and leaks none") {
  for (rlim_t more = 0; more < 4; ++more) {
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
      return made == (more >= 3) && open_descriptors() == before;
    }));
  }
}

TEST_CASE_FIXTURE(tidy, "a loop and its fine timers work when no descriptor is free any more") {
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
TEST_CASE_FIXTURE(tidy, "a lack of memory is an error, and other work goes on") {
  CHECK(holds_in_child([] {
    eddy::event_loop loop;
    std::vector<std::unique_ptr<socket_pair>> pairs;
    for (int i = 0; i < 300; ++i) pairs.push_back(std::make_unique<socket_pair>());
    std::vector<eddy::readiness> watched;
    watched.reserve(pairs.size());
    int told = 0;
    loop.run_ready();

    // No new pages, and the rest of the heap is used up.
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
    // Some memory is free for handlers, but none for large tables.
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

  TEST_CASE_FIXTURE(tidy, "a loop that eddy made belongs to a thread only while that runs it") {
    eddy::event_loop loop;
    loop.move_to_this_thread();
    bool ran = false;
    std::thread([&] {
      loop.defer([&] { ran = true; });
      loop.run();
    }).join();
    CHECK(ran);
  }
}

TEST_CASE_FIXTURE(tidy, "the constructor throws if the kernel refuses the loop's descriptors") {
  struct ev_loop* const ev = ev_loop_new(EVBACKEND_EPOLL);
  const auto refused = [](auto make) {
    const epoll_refusal next(1);
    CHECK_THROWS_WITH_AS(make(), doctest::Contains("watching an event loop's own descriptor"),
                         std::system_error);
  };
  refused([] { const eddy::event_loop loop; });
  refused([&] { const eddy::event_loop loop(ev); });
  {
    const eddy::event_loop loop(ev);
  }
  ev_loop_destroy(ev);
}

TEST_CASE_FIXTURE(tidy,
                  "a loop whose wake-up descriptor is refused later raises an error and goes on") {
  eddy::event_loop loop;
  eddy::timer timer(loop);
  bool fired = false;
  timer.start(1ms, [&] { fired = true; });
  {
    const epoll_refusal first(1);
    CHECK_THROWS_WITH_AS(loop.run(), doctest::Contains("watching an event loop's own descriptor"),
                         std::system_error);
  }
  loop.run();
  CHECK(fired);
  bool ran = false;
  std::optional<eddy::work_guard> until_posted(loop);
  std::thread other([&] {
    loop.post([&] {
      ran = true;
      until_posted.reset();
    });
  });
  loop.run();
  other.join();
  CHECK(ran);
}

TEST_CASE_TEMPLATE("a loop whose descriptors are all refused goes on", Loop, ANY_LOOP) {
  for (const int refusals : {1, 2, 3}) {
    CAPTURE(refusals);
    Loop on;
    int told = 0;
    on.loop.on_exception([&](const std::exception_ptr&) { ++told; });
    eddy::timer timer(on.loop);
    timer.start_every(1ms, [&] {
      if (told == refusals) timer.stop();
    });
    const epoll_refusal some(refusals);
    on.run();
    CHECK(told == refusals);
  }
}

TEST_CASE_TEMPLATE("a loop whose descriptors are refused again and again is not busy", Loop,
                   ANY_LOOP) {
  Loop on;
  int told = 0;
  on.loop.on_exception([&](const std::exception_ptr&) { ++told; });
  eddy::timer timer(on.loop);
  timer.start(150ms, [] {});
  {
    const epoll_refusal all(std::numeric_limits<int>::max());
    on.run();  // the timer is late, but not lost
    CHECK(told >= 2);
    CHECK(told <= 6);
  }
  timer.start(1ms, [] {});
  on.run();
  CHECK_FALSE(timer.active());
}

TEST_CASE_FIXTURE(tidy, "work queued while a loop is destroyed is destroyed, too") {
  int gone = 0;
  eddy::event_loop* on = nullptr;
  std::function<void()> leave_more = [&] {
    if (++gone >= 30) return;
    on->defer([more = at_end(leave_more)] {});
    if (gone % 3 == 0) on->raise(std::make_exception_ptr(std::make_shared<at_end>(leave_more)));
  };
  auto loop = std::make_unique<eddy::event_loop>();
  on = loop.get();
  on->defer([more = at_end(leave_more)] {});
  on->post([more = at_end(leave_more)] {});
  auto use_and_leave_more = [&] {
    leave_more();
    static_cast<void>(on->now());
    static_cast<void>(on->descriptor());
    static_cast<void>(on->next_run());
  };
  on->on_exception([more = at_end(use_and_leave_more)](const std::exception_ptr&) {});
  loop.reset();
  CHECK(gone >= 30);
}

TEST_CASE("raising a null error aborts") {
  dies_saying("event_loop::raise was given no error", [] {
    eddy::event_loop loop;
    loop.raise(nullptr);
  });
}
