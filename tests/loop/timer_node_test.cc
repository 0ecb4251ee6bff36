// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/timer_node.h>.
#include <eddy/loop/timer_node.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <new>
#include <random>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/detail/timer_queue.h>
#include <eddy/loop/event_loop.h>

#include "support/journal.h"
#include "support/tidy.h"

using eddy::detail::failing_allocations;
using namespace std::chrono_literals;

namespace {

struct named : eddy::timer_node {
  named(eddy::event_loop& loop, journal& j, int n) : timer_node(loop, &run), note(&j), name(n) {}
  named(named&& other) noexcept = default;

  static void run(eddy::ready_node& node) {
    auto& self = static_cast<named&>(static_cast<eddy::timer_node&>(node));
    (*self.note)(self.name);
  }

  journal* note;
  int name;
};

}  // namespace

TEST_CASE_FIXTURE(with_still_loop, "a node fires once, at its deadline") {
  journal note;
  named node(loop, note, 1);
  node.set(clock.now() + 5s);
  CHECK(node.pending());
  CHECK(node.deadline() == clock.now() + 5s);

  clock.advance(5s);
  CHECK(loop.run_ready());
  CHECK(note == "1");
  CHECK_FALSE(node.pending());
  CHECK_FALSE(loop.run_ready());
}

TEST_CASE_FIXTURE(with_still_loop, "a node that is cleared does not fire") {
  journal note;
  named node(loop, note, 1);
  node.set(clock.now());

  SUBCASE("before it is due") { node.clear(); }
  SUBCASE("when it is due and queued") {
    struct killer : eddy::timer_node {
      killer(eddy::event_loop& l, named& v) : timer_node(l, &run), victim(&v) {}
      static void run(eddy::ready_node& ready) {
        static_cast<killer&>(static_cast<eddy::timer_node&>(ready)).victim->clear();
      }
      named* victim;
    };
    killer first(loop, node);
    first.set(clock.now() - 1ns);
    loop.run_ready();
  }
  loop.run_ready();
  CHECK(note == "");
}

TEST_CASE_FIXTURE(with_still_loop, "a node can be destroyed while it is set") {
  journal note;
  auto first = std::make_unique<named>(loop, note, 1);
  auto second = std::make_unique<named>(loop, note, 2);
  named third(loop, note, 3);
  first->set(clock.now() + 1s);
  second->set(clock.now() + 2s);
  third.set(clock.now() + 3s);

  first.reset();
  second.reset();
  clock.advance(3s);
  loop.run_ready();
  CHECK(note == "3");
}

TEST_CASE_FIXTURE(with_still_loop, "a moved node keeps its deadline and its position") {
  journal note;
  named a(loop, note, 1);
  named b(loop, note, 2);
  a.set(clock.now() + 1s);
  b.set(clock.now() + 1s);

  named moved(std::move(a));
  CHECK(moved.pending());
  CHECK_FALSE(a.pending());
  clock.advance(1s);
  loop.run_ready();
  CHECK(note == "1 2");
}

TEST_CASE_FIXTURE(with_still_loop,
                  "after any setting, moving and clearing, nodes fire by deadline "
                  "and then by order of setting") {
  // Compared with the simplest model: a list that is searched.
  struct model {
    int name;
    eddy::time_point deadline;
  };
  std::mt19937 random(20240229);
  const auto upto = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  journal note;
  journal expected;
  std::vector<std::unique_ptr<named>> nodes;
  for (int i = 0; i < 200; ++i) nodes.push_back(std::make_unique<named>(loop, note, i));
  std::list<model> set;  // in the order of setting

  for (int step = 0; step < 20000; ++step) {
    const int n = upto(200);
    auto& node = *nodes[static_cast<std::size_t>(n)];
    switch (upto(8)) {
      case 0:
        node.clear();
        std::erase_if(set, [&](const model& m) { return m.name == n; });
        break;
      case 1: {
        clock.advance(std::chrono::nanoseconds(upto(20)));
        loop.run_ready();
        for (;;) {
          auto first = set.end();
          for (auto m = set.begin(); m != set.end(); ++m) {
            if (m->deadline <= clock.now() &&
                (first == set.end() || m->deadline < first->deadline)) {
              first = m;
            }
          }
          if (first == set.end()) break;
          expected(first->name);
          set.erase(first);
        }
        break;
      }
      case 2: {
        auto moved = std::make_unique<named>(std::move(node));
        nodes[static_cast<std::size_t>(n)] = std::move(moved);
        break;
      }
      default: {
        const auto deadline = clock.now() + std::chrono::nanoseconds(upto(100));
        node.set(deadline);
        std::erase_if(set, [&](const model& m) { return m.name == n; });
        set.push_back({n, deadline});
      }
    }
    if (const auto next = loop.next_run(); !set.empty()) {
      auto first = set.front().deadline;
      for (const auto& m : set) first = std::min(first, m.deadline);
      REQUIRE(next == std::max(first - clock.now(), eddy::duration::zero()));
    } else {
      REQUIRE_FALSE(next);
    }
  }
  CHECK(note.text() == expected.text());
  CHECK(loop.count().timers == set.size());
}

TEST_CASE_FIXTURE(with_loop,
                  "nodes that are set to delays in turns fire by deadline, and none early") {
  std::mt19937 random(20240229);
  const auto upto = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  struct waiting : eddy::timer_node {
    explicit waiting(eddy::event_loop& l) : timer_node(l, &run) {}
    static void run(eddy::ready_node& node) {
      auto& self = static_cast<waiting&>(static_cast<eddy::timer_node&>(node));
      const auto deadline = self.deadline();
      CHECK(deadline >= self.least);
      CHECK(deadline <= self.loop().now());
      CHECK(deadline >= std::exchange(*self.last, deadline));
    }
    eddy::time_point least;
    eddy::time_point* last = nullptr;
  };
  eddy::time_point last{};
  std::list<waiting> nodes;
  for (int i = 0; i < 100; ++i) nodes.emplace_back(loop).last = &last;

  for (int turn = 0; turn < 300; ++turn) {
    loop.defer([&] {
      for (auto& node : nodes) {
        switch (upto(8)) {
          case 0: node.clear(); break;
          case 1: node.set(node.least = std::chrono::steady_clock::now()); break;
          case 2: CHECK(node.deadline() >= node.least); break;
          case 3: break;
          default: {
            const auto delay = std::chrono::microseconds(upto(2000));
            node.least = std::chrono::steady_clock::now() + delay;
            node.set_after(delay);
          }
        }
      }
    });
    loop.run_ready();
    last = {};
  }
  loop.run();
}

TEST_CASE_FIXTURE(with_still_loop, "the order of setting does not run out") {
  // The queue counts as if 2^32 nodes had been set before.
  journal note;
  journal expected;
  std::list<named> nodes;
  eddy::detail::timer_queue queue(UINT32_MAX - 10);
  const auto when = clock.now();
  for (int i = 0; i < 20; ++i) {
    queue.set(nodes.emplace_back(loop, note, i), when + 5s, eddy::resolution::millisecond);
    if (i % 3 == 0) queue.set(nodes.front(), when + 5s, eddy::resolution::millisecond);
    if (i % 5 == 0) queue.set(nodes.back(), when + 4s, eddy::resolution::millisecond);
  }
  for (const int i : {5, 10, 15, 1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14, 16, 17, 18, 0, 19})
    expected(i);

  while (auto* const due = queue.take_due(when + 5s)) note(static_cast<named*>(due)->name);
  CHECK(note.text() == expected.text());
}

TEST_CASE_FIXTURE(tidy, "a node for which there is no memory is not set, and can be set later") {
  eddy::event_loop loop;
  journal note;
  named node(loop, note, 1);
  const auto is_refused = [&](auto set) {
    const failing_allocations all(0, failing_allocations::times::for_good);
    try {
      set();
      return false;
    } catch (const std::bad_alloc&) {
      return true;
    }
  };
  const auto set_after = [&] { node.set_after(0s); };
  CHECK(is_refused(set_after));
  CHECK(is_refused([&] { node.set(loop.now()); }));
  bool in_a_turn = false;
  loop.defer([&] { in_a_turn = is_refused(set_after); });
  loop.run();
  CHECK(in_a_turn);
  CHECK(!node.pending());
  CHECK(loop.count().timers == 0);

  node.set_after(0s);
  loop.run();
  CHECK(note == "1");
}

TEST_CASE_FIXTURE(with_jumping_loop, "a node in the background does not keep its loop running") {
  journal note;
  named back(loop, note, 1);
  back.set(clock.now() + 1s);
  back.background(true);
  loop.run();
  CHECK(note == "");

  SUBCASE("but fires while other work keeps it running") {
    named front(loop, note, 2);
    front.set(clock.now() + 2s);
    loop.run();
    CHECK(note == "1 2");
  }
  SUBCASE("until it is put back in the foreground") {
    back.background(false);
    loop.run();
    CHECK(note == "1");
  }
  SUBCASE("nor does a moved node") {
    named moved(std::move(back));
    loop.run();
    CHECK(note == "");
  }
}

TEST_CASE_FIXTURE(with_still_loop,
                  "a node that was moved to a later time is not early when orders are renumbered") {
  journal note;
  eddy::detail::timer_queue queue(UINT32_MAX - 3);
  const auto when = clock.now();
  std::list<named> nodes;
  named& moved = nodes.emplace_back(loop, note, 0);
  queue.set(moved, when + 1s, eddy::resolution::millisecond);
  queue.set(moved, when + 9s, eddy::resolution::millisecond);
  for (int i = 1; i < 5; ++i) {
    queue.set(nodes.emplace_back(loop, note, i), when + 5s, eddy::resolution::millisecond);
  }
  CHECK(queue.take_due(when + 1s) == nullptr);
  while (auto* const due = queue.take_due(when + 9s)) note(static_cast<named*>(due)->name);
  CHECK(note == "1 2 3 4 0");
}
