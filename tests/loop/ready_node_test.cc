// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/ready_node.h>.
#include <eddy/loop/ready_node.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer.h>

#include "support/any_loop.h"
#include "support/forked.h"
#include "support/journal.h"
#include "support/tidy.h"

static_assert(!std::is_copy_constructible_v<eddy::ready_node>);
static_assert(!std::is_constructible_v<eddy::ready_node, std::nullptr_t>);

namespace {

/// A node that notes its name.
struct named : eddy::ready_node {
  named(journal& j, int n) : ready_node(&run), note(&j), name(n) {}
  named(named&& other) noexcept = default;

  static void run(eddy::ready_node& node) {
    auto& self = static_cast<named&>(node);
    (*self.note)(self.name);
  }

  journal* note;
  int name;
};

}  // namespace

TEST_CASE_TEMPLATE("nodes run in the order they were made ready", Loop, ANY_LOOP) {
  Loop on;
  journal note;
  named a(note, 1);
  named b(note, 2);
  named c(note, 3);
  on.loop.ready(b);
  on.loop.ready(a);
  on.loop.ready(c);
  CHECK(note == "");
  CHECK(a.queued());

  on.run();
  CHECK(note == "2 1 3");
  CHECK_FALSE(a.queued());
}

TEST_CASE_FIXTURE(with_loop, "a node that is withdrawn or destroyed does not run") {
  journal note;
  named stays(note, 1);
  named withdrawn(note, 2);
  auto destroyed = std::make_unique<named>(note, 3);
  loop.ready(withdrawn);
  loop.ready(stays);
  loop.ready(*destroyed);

  withdrawn.withdraw();
  destroyed.reset();
  loop.run();
  CHECK(note == "1");
}

TEST_CASE_FIXTURE(with_loop, "a moved node keeps its position") {
  journal note;
  named a(note, 1);
  named b(note, 2);
  loop.ready(a);
  loop.ready(b);

  named moved(std::move(a));
  CHECK(moved.queued());
  CHECK_FALSE(a.queued());
  loop.run();
  CHECK(note == "1 2");
}

TEST_CASE_FIXTURE(with_loop,
                  "a node that a running node makes ready goes to the end of the queue") {
  journal note;
  named last(note, 9);
  loop.defer([&] {
    note("first");
    loop.ready(last);
  });
  loop.defer([&] { note("second"); });

  loop.run();
  CHECK(note == "first second 9");
}

TEST_CASE_TEMPLATE("a node that is always ready does not starve timers and descriptors", Loop,
                   ANY_LOOP) {
  Loop on;
  struct busy : eddy::ready_node {
    explicit busy(eddy::event_loop& l) : ready_node(&run), loop(&l) { l.ready(*this); }
    static void run(eddy::ready_node& node) {
      auto& self = static_cast<busy&>(node);
      ++self.runs;
      if (!self.enough) self.loop->ready(self);
    }
    eddy::event_loop* loop;
    long runs = 0;
    bool enough = false;
  };
  busy node(on.loop);
  eddy::timer timer(on.loop);
  timer.start(std::chrono::milliseconds(2), [&] { node.enough = true; });

  on.run();
  CHECK(node.runs > 1);
}

TEST_CASE_FIXTURE(with_loop, "a node may destroy itself and the next node") {
  struct suicidal : eddy::ready_node {
    suicidal() : ready_node(&run) {}
    static void run(eddy::ready_node& node) { delete static_cast<suicidal*>(&node); }
  };
  journal note;
  auto next = std::make_unique<named>(note, 1);
  loop.ready(*new suicidal);
  loop.defer([&] { next.reset(); });
  loop.ready(*next);

  loop.run();
  CHECK(note == "");
}

TEST_CASE("a destroyed loop destroys its queued functions without running them") {
  const tidy leaves_nothing;
  journal note;
  named outlives(note, 1);
  {
    eddy::event_loop loop;
    loop.ready(outlives);
    loop.defer([&] { note("deferred"); });
  }
  CHECK(note == "");
  CHECK_FALSE(outlives.queued());
}

TEST_CASE("queueing a node twice aborts") {
  dies_saying("a node that is in a queue already", [] {
    eddy::event_loop loop;
    journal note;
    named node(note, 1);
    loop.ready(node);
    loop.ready(node);
  });
}

TEST_CASE("a node of a null function stops the program") {
  dies_saying("ready_node was given a handler that is null", [] {
    const eddy::ready_node::function none = nullptr;
    const eddy::ready_node node(none);
  });
}
