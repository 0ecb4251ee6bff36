// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/detail/wait_list.h>.
#include <eddy/loop/detail/wait_list.h>

#include <optional>

#include <doctest/doctest.h>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/ready_node.h>

#include "support/journal.h"

namespace {

using eddy::detail::wait_list;
using eddy::detail::wait_node;

/// Waits for a permit, and takes the permit when the loop resumes it.
class waiter : public eddy::ready_node {
public:
  waiter(journal& note, int id) noexcept : ready_node(&run), note_(note), id_(id) {}

  wait_node node;

private:
  static void run(ready_node& resumed) {
    auto& self = static_cast<waiter&>(resumed);
    self.node.deliver();
    self.note_(self.id_);
  }

  journal& note_;
  int id_;
};

struct fixture {
  fixture() {
    for (int i = 0; i < 3; ++i) list.add(waiters[i]->node, *waiters[i], loop);
  }
  fixture(const fixture&) = delete;
  fixture& operator=(const fixture&) = delete;

  eddy::event_loop loop;
  journal note;
  wait_list list;
  std::optional<waiter> waiters[3]{std::optional<waiter>(std::in_place, note, 1),
                                   std::optional<waiter>(std::in_place, note, 2),
                                   std::optional<waiter>(std::in_place, note, 3)};
};

}  // namespace

TEST_CASE_FIXTURE(fixture, "wake_one wakes the waiter that has waited longest, from the loop") {
  CHECK(list.wake_one());
  CHECK(note == "");
  loop.run();
  CHECK(note == "1");
  CHECK(list.wake_one());
  CHECK(list.wake_one());
  CHECK_FALSE(list.wake_one());
  loop.run();
  CHECK(note == "1 2 3");
}

TEST_CASE_FIXTURE(fixture, "wake_all wakes all waiters in the order in which they began to wait") {
  list.wake_all();
  CHECK(note == "");
  CHECK_FALSE(list.wake_one());
  loop.run();
  CHECK(note == "1 2 3");
}

TEST_CASE_FIXTURE(fixture, "a list without a waiter wakes nobody") {
  wait_list none;
  CHECK_FALSE(none.wake_one());
  none.wake_all();
  loop.run();
  CHECK(note == "");
}

TEST_CASE_FIXTURE(fixture, "a destroyed waiter is not woken") {
  waiters[0].reset();
  SUBCASE("alone") { CHECK(list.wake_one()); }
  SUBCASE("with all others") { list.wake_all(); }
  loop.run();
  CHECK(note.text().starts_with("2"));
}

TEST_CASE_FIXTURE(fixture, "a waiter destroyed before it resumes leaves its permit to the next") {
  list.wake_one();
  SUBCASE("once") {
    waiters[0].reset();
    loop.run();
    CHECK(note == "2");
  }
  SUBCASE("twice") {
    waiters[0].reset();
    waiters[1].reset();
    loop.run();
    CHECK(note == "3");
  }
}

TEST_CASE_FIXTURE(fixture, "a waiter that has resumed keeps its permit when it is destroyed") {
  list.wake_one();
  loop.run();
  waiters[0].reset();
  loop.run();
  CHECK(note == "1");
}

TEST_CASE_FIXTURE(fixture, "a waiter that wake_all woke leaves no permit when it is destroyed") {
  list.wake_all();
  waiter late(note, 4);
  list.add(late.node, late, loop);
  waiters[0].reset();
  loop.run();
  CHECK(note == "2 3");
}

TEST_CASE_FIXTURE(fixture, "a waiter that waits again is the last, and has no permit to leave") {
  list.wake_one();
  waiters[0]->withdraw();
  list.add(waiters[0]->node, *waiters[0], loop);
  list.wake_one();
  loop.run();
  CHECK(note == "2");
  waiters[0].reset();
  loop.run();
  CHECK(note == "2");
}
