// SPDX-License-Identifier: BSD-2-Clause
// Tests of the turn that loop/README.md describes: it is bounded, and no kind of work starves
// another kind.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <ctime>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/readiness.h>
#include <eddy/loop/timer.h>

#include "support/any_loop.h"
#include "support/journal.h"
#include "support/socket_pair.h"
#include "support/tidy.h"

using namespace std::chrono_literals;

namespace {

/// Work of one kind that queues itself again, `width` pieces at a time, until it is destroyed. Each
/// piece calls `piece`.
class flood {
public:
  enum kind { of_timers, of_descriptors, of_posts, of_deferred };

  flood(eddy::event_loop& loop, kind what, std::size_t width, std::function<void()> piece)
      : loop_(loop), piece_(std::move(piece)) {
    for (std::size_t i = 0; i < width; ++i) {
      switch (what) {
        case of_timers: begin_timer(timers_.emplace_back(loop)); break;
        case of_descriptors:
          pairs_.emplace_back().send();
          begin_wait(waits_.emplace_back(loop, pairs_.back().near()));
          break;
        case of_posts: post(); break;
        case of_deferred: defer(); break;
      }
    }
  }
  flood(const flood&) = delete;
  flood& operator=(const flood&) = delete;
  ~flood() { *over_ = true; }

private:
  void begin_timer(eddy::timer& timer) {
    timer.start(0s, [this, &timer] {
      begin_timer(timer);
      piece_();
    });
  }
  void begin_wait(eddy::readiness& wait) {
    wait.wait_readable([this, &wait](std::error_code) {
      begin_wait(wait);
      piece_();
    });
  }
  void post() {
    loop_.post([this, over = over_] {
      if (*over) return;
      post();
      piece_();
    });
  }
  void defer() {
    loop_.defer([this, over = over_] {
      if (*over) return;
      defer();
      piece_();
    });
  }

  eddy::event_loop& loop_;
  std::function<void()> piece_;
  std::shared_ptr<bool> over_ = std::make_shared<bool>(false);
  std::deque<eddy::timer> timers_;
  std::deque<socket_pair> pairs_;
  std::deque<eddy::readiness> waits_;
};

constexpr flood::kind kinds[] = {flood::of_timers, flood::of_descriptors, flood::of_posts,
                                 flood::of_deferred};

/// Runs the work that a flood has left behind.
void empty(eddy::event_loop& loop) {
  while (loop.run_ready()) {
  }
}

void burn(std::chrono::steady_clock::duration time) {
  const auto until = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < until) {
  }
}

/// Spins until the kernel's coarse clock has moved that far. A turn reads that clock between two
/// handlers, and on a busy machine it may stand longer than the 10 ms of a tick.
void burn_ticks(std::chrono::nanoseconds time) {
  const auto coarse = [] {
    std::timespec t{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
  };
  const auto until = std::chrono::steady_clock::now().time_since_epoch() + time;
  while (coarse() < until) {
  }
}

}  // namespace

TEST_CASE_FIXTURE(with_still_loop, "one turn does at most 1,024 operations of any kind") {
  for (const flood::kind kind : kinds) {
    for (const std::size_t width : {1, 100, 400}) {
      INFO(kind << ", " << width);
      {
        std::size_t pieces = 0;
        const flood all(loop, kind, width, [&] { ++pieces; });
        for (int turn = 0; turn < 10; ++turn) {
          const std::size_t before = pieces;
          CHECK(loop.run_ready());
          CHECK(pieces - before >= 1);
          CHECK(pieces - before <= 1024);
        }
      }
      empty(loop);
    }
  }
}

TEST_CASE_FIXTURE(with_still_loop,
                  "a flood of one kind of work lets each other kind run in the same turn") {
  for (const flood::kind kind : kinds) {
    INFO(kind);
    {
      const flood all(loop, kind, 400, [] {});
      for (int turn = 0; turn < 10; ++turn) {
        journal note;
        socket_pair pair;
        pair.send();
        eddy::readiness ready(loop, pair.near());
        eddy::timer timer(loop);
        ready.wait_readable([&](std::error_code) { note("descriptor"); });
        timer.start(0s, [&] { note("timer"); });
        loop.post([&] { note("post"); });
        loop.defer([&] { note("deferred"); });
        const auto came = [&](std::string_view word) { return note.text().contains(word); };
        loop.run_ready();
        CHECK((came("timer") || kind == flood::of_timers));
        CHECK((came("descriptor") || kind == flood::of_descriptors));
        CHECK((came("post") || kind == flood::of_posts));
        CHECK((came("deferred") || kind == flood::of_deferred));
        // An entry of the flood's own kind waits for the entries before it.
        loop.run_ready();
        loop.run_ready();
        CHECK(came("timer"));
        CHECK(came("descriptor"));
        CHECK(came("post"));
        CHECK(came("deferred"));
      }
    }
    empty(loop);
  }
}

TEST_CASE_FIXTURE(with_still_loop,
                  "10,000 due timers run by deadline, and let others run between") {
  std::deque<eddy::timer> all;
  std::vector<int> order;
  constexpr int count = 10'000;
  for (int i = 0; i < count; ++i) {
    const int place = i * 7 % count;  // each of them, in another order
    all.emplace_back(loop).start(1ms + place * 1us, [&order, place] { order.push_back(place); });
  }
  clock.advance(1s);
  std::size_t between = 0;
  std::optional<flood> others;
  others.emplace(loop, flood::of_deferred, 1, [&] { ++between; });
  int turns = 0;
  for (; order.size() < count; ++turns) {
    const std::size_t before = order.size();
    const std::size_t other = between;
    REQUIRE(loop.run_ready());
    CHECK(order.size() - before <= 1024);
    CHECK(between > other);
  }
  CHECK(turns >= count / 1024);
  CHECK(std::is_sorted(order.begin(), order.end()));
  others.reset();
  empty(loop);
}

TEST_CASE_FIXTURE(with_still_loop, "a due timer fires before timers that are due later") {
  // The timers that a turn leaves behind stay in the order of their deadlines, together with timers
  // that are started meanwhile.
  std::deque<eddy::timer> all;
  for (int i = 0; i < 2000; ++i) all.emplace_back(loop).start(2ms, [] {});
  clock.advance(1s);
  loop.run_ready();
  journal note;
  eddy::timer late(loop);
  eddy::timer early(loop);
  late.start_at(loop.now(), [&] { note("late"); });
  early.start_at(loop.now() - 1s, [&] { note("early"); });
  loop.run_ready();
  CHECK(note == "early");
  empty(loop);
  CHECK(note == "early late");
}

namespace {

/// Checks that a timer which ticks each millisecond waits for few slow operations of a flood,
/// once the loop has learned how slow they are. `piece` calls its argument for each operation.
template <class Loop, class Piece>
void expect_ticks_beside(flood::kind kind, std::size_t width, Piece piece) {
  Loop on;
  std::size_t pieces = 0;
  std::size_t before = 0;
  constexpr int first = 10;  // until then the loop learns
  constexpr int ticks = 20;
  int ticked = 0;
  eddy::timer timer(on.loop);
  const auto slow = [&pieces] {
    burn(1ms);
    ++pieces;
  };
  {
    const flood all(on.loop, kind, width, [&] { piece(on, slow); });
    timer.start_every(1ms, [&] {
      if (++ticked == first) before = pieces;
      if (ticked == first + ticks) on.loop.stop();
    });
    on.loop.run();
    CHECK(pieces - before <= 4 * ticks);
  }
  timer.stop();
  empty(on.loop);
}

}  // namespace

TEST_CASE_TEMPLATE("a timer that ticks waits for few slow handlers", Loop, ANY_LOOP) {
  // More pieces than a turn runs between two readings of the clock, and fewer.
  std::size_t many = 40;
  SUBCASE("many") {}
  SUBCASE("a dozen") { many = 12; }
  for (const flood::kind kind : {flood::of_descriptors, flood::of_posts, flood::of_deferred}) {
    INFO(kind);
    expect_ticks_beside<Loop>(kind, many, [](Loop&, const auto& slow) { slow(); });
  }
}

TEST_CASE_TEMPLATE("a timer waits for one slow handler after many fast ones", Loop, ANY_LOOP) {
  Loop on;
  eddy::timer burst(on.loop);
  eddy::timer timer(on.loop);
  bool due = false;
  int late = 0;
  constexpr int bursts = 3;
  int ended = 0;
  const std::function<void()> begin_burst = [&] {
    due = false;
    for (int i = 0; i < 12; ++i) {
      on.loop.defer([&] {
        if (due && timer.active()) ++late;
        burn_ticks(10ms);
        due = true;
      });
    }
    timer.start(1ms, [&] {
      if (++ended == bursts)
        on.loop.stop();
      else
        burst.start(20ms, begin_burst);
    });
  };
  {
    const flood fast(on.loop, flood::of_posts, 1, [] {});
    burst.start(20ms, begin_burst);
    on.loop.run();
    CHECK(late <= bursts);
  }
  empty(on.loop);
}

TEST_CASE_TEMPLATE("a timer that ticks waits for few slow operations of one handler", Loop,
                   ANY_LOOP) {
  expect_ticks_beside<Loop>(flood::of_deferred, 1, [](Loop& on, const auto& slow) {
    do slow();
    while (on.loop.may_go_on());
  });
}

TEST_CASE_TEMPLATE("a turn of slow handlers ends, whatever they are", Loop, ANY_LOOP) {
  // Each piece takes 1 ms, twice the time of a turn. A timer that becomes due meanwhile waits for
  // one piece of each kind, not for all ready pieces.
  for (const flood::kind kind : kinds) {
    INFO(kind);
    Loop on;
    std::size_t pieces = 0;
    std::size_t before = 0;
    eddy::timer timer(on.loop);
    {
      flood all(on.loop, kind, 40, [&] {
        burn(1ms);
        if (++pieces == 60)
          timer.start(1us, [&] {
            before = pieces;
            on.loop.stop();
          });
      });
      on.loop.run();
      CHECK(before >= 60);
      CHECK(before <= 60 + (kind == flood::of_timers ? 42 : 4));
    }
    empty(on.loop);
  }
}

TEST_CASE_FIXTURE(with_loop, "stop ends run in a flood of each kind") {
  for (const flood::kind kind : kinds) {
    INFO(kind);
    {
      std::size_t pieces = 0;
      std::size_t after = 0;
      const flood all(loop, kind, 300, [&] {
        if (++pieces == 500) loop.stop();
        if (pieces > 500) ++after;
      });
      loop.run();
      CHECK(pieces == 500);
      CHECK(after == 0);
    }
    empty(loop);
  }
}

TEST_CASE_FIXTURE(with_still_loop,
                  "a share that is used up stays used up, whatever else is counted") {
  loop.defer([&] {
    CHECK(loop.may_go_on());
    loop.charge(std::numeric_limits<std::size_t>::max());
    CHECK_FALSE(loop.may_go_on());
    for (int i = 0; i < 3; ++i) loop.charge(std::size_t{1} << 43);
    CHECK_FALSE(loop.may_go_on());
    for (int i = 0; i < 10'000; ++i) CHECK_FALSE(loop.may_go_on());
  });
  loop.run();
}

TEST_CASE_FIXTURE(with_still_loop,
                  "a loop with more due timers than a turn runs can go idle afterwards") {
  std::vector<std::unique_ptr<eddy::timer>> timers;
  int rang = 0;
  constexpr int many = 2 * eddy::event_loop::budget + 1;
  for (int i = 0; i < many; ++i) {
    timers.push_back(std::make_unique<eddy::timer>(loop));
    timers.back()->start(0s, [&] { ++rang; });
  }
  while (loop.count().timers != 0 || loop.count().ready != 0) loop.run_ready();
  CHECK(rang == many);
  CHECK_FALSE(loop.next_run());
  CHECK_FALSE(loop.run_ready());
}
