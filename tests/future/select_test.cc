// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/select.h>.
#include <eddy/future/select.h>

#include <cstddef>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/block_on.h>
#include <eddy/future/flow/race_ok.h>
#include <eddy/future/promise.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/yield.h>

#include "support/async_test.h"
#include "support/at_end.h"
#include "support/counted.h"
#include "support/error_words.h"
#include "support/forked.h"
#include "support/journal.h"

using namespace std::chrono_literals;

namespace {

eddy::task<int> after(eddy::duration delay, int n) {
  co_await eddy::sleep(delay);
  co_return n;
}

eddy::task<int> at_once(int n) { co_return n; }

eddy::task<> hold(counted, eddy::duration delay) { co_await eddy::sleep(delay); }

eddy::task<> fail_after(eddy::duration delay, std::string what) {
  if (delay != 0s) co_await eddy::sleep(delay);
  throw std::runtime_error(what);
}

eddy::task<int> note_and_wait(journal* note, int n, eddy::duration delay) {
  (*note)(n);
  if (delay != 0s) co_await eddy::sleep(delay);
  co_return n;
}

eddy::task<> hold_end(at_end) { co_await eddy::sleep(1h); }

}  // namespace

ASYNC_TEST("a select gives the index and the value of the first branch to complete") {
  const auto before = clock.now();
  auto first = co_await eddy::select(after(3s, 1), after(1s, 2), eddy::sleep(2s));
  static_assert(std::is_same_v<decltype(first), std::variant<int, int, std::monostate>>);
  CHECK(first.index() == 1);
  CHECK(std::get<1>(first) == 2);
  CHECK(clock.now() - before == 1s);

  auto silent = co_await eddy::select(after(3s, 1), eddy::sleep(2s));
  CHECK(silent.index() == 1);
}

ASYNC_TEST("a select keeps each value's type") {
  int n = 0;
  eddy::promise<int&> p;
  auto f = p.get_future();
  p.set_value(n);
  auto reference = co_await eddy::select(std::move(f), eddy::sleep(1s));
  CHECK(&std::get<0>(reference).get() == &n);

  auto boxed = []() -> eddy::task<std::unique_ptr<int>> { co_return std::make_unique<int>(4); };
  auto box = co_await eddy::select(eddy::sleep(1s), boxed());
  CHECK(*std::get<1>(box) == 4);
}

ASYNC_TEST("the losers are destroyed before a select gives its value") {
  int alive = 0;
  auto waits = hold(counted(alive), 1h);
  auto waits_too = hold(counted(alive), 2h);
  auto first = co_await eddy::select(std::move(waits), after(1s, 2), std::move(waits_too));
  CHECK(alive == 0);
  CHECK(loop.count().timers == 0);
  CHECK(first.index() == 1);
}

ASYNC_TEST("branches start in order, and none after a branch that completes at once") {
  journal note;
  auto first = co_await eddy::select(note_and_wait(&note, 1, 1s), note_and_wait(&note, 2, 0s),
                                     note_and_wait(&note, 3, 0s));
  CHECK(note == "1 2");
  CHECK(first.index() == 1);
}

ASYNC_TEST("among several ready branches, the first in order wins") {
  eddy::promise<int> a;
  eddy::promise<int> b;
  auto fa = a.get_future();
  auto fb = b.get_future();
  b.set_value(2);
  a.set_value(1);
  auto first = co_await eddy::select(std::move(fa), std::move(fb));
  CHECK(first.index() == 0);
}

ASYNC_TEST("among branches that become ready in one turn, the earliest wins") {
  eddy::promise<int> a;
  eddy::promise<int> b;
  auto selecting = eddy::spawn(eddy::select(a.get_future(), b.get_future()));
  co_await eddy::yield();
  b.set_value(2);
  a.set_value(1);
  auto first = co_await std::move(selecting);
  CHECK(first.index() == 1);

  auto timers = co_await eddy::select(after(2s, 1), eddy::sleep(1s), after(1s, 2));
  CHECK(timers.index() == 1);
}

ASYNC_TEST("a select throws the winner's error after the losers are destroyed") {
  int alive = 0;
  std::string what;
  try {
    co_await eddy::select(hold(counted(alive), 1h), fail_after(1s, "wins"), after(2s, 1));
  } catch (const std::runtime_error& e) {
    what = e.what();
    CHECK(alive == 0);
  }
  CHECK(what == "wins");
}

TEST_CASE_FIXTURE(async_fixture,
                  "the error of a loser that had already failed goes to on_exception") {
  std::string what;
  loop.on_exception([&](std::exception_ptr e) { what += words_of(e) + "."; });
  struct program {
    static eddy::task<> of_two_ready() {
      eddy::promise<int> a;
      eddy::promise<int> b;
      auto fa = a.get_future();
      auto fb = b.get_future();
      a.set_value(1);
      b.set_error(std::make_exception_ptr(std::runtime_error("lost")));
      auto first = co_await eddy::select(std::move(fa), std::move(fb));
      CHECK(first.index() == 0);
    }
    static eddy::task<> of_one_turn() {
      eddy::promise<int> a;
      eddy::promise<int> b;
      auto selecting = eddy::spawn(eddy::select(a.get_future(), b.get_future()));
      co_await eddy::yield();
      a.set_value(1);
      b.set_error(std::make_exception_ptr(std::runtime_error("lost")));
      auto first = co_await std::move(selecting);
      CHECK(first.index() == 0);
    }
    static eddy::task<> of_tasks() {
      auto loser = eddy::spawn(fail_after(1s, "lost"));
      co_await eddy::yield();
      auto first = co_await eddy::select(after(1s, 1), std::move(loser));
      CHECK(first.index() == 0);
    }
  };
  SUBCASE("two branches were ready") { eddy::block_on(loop, program::of_two_ready()); }
  SUBCASE("two branches became ready in one turn") { eddy::block_on(loop, program::of_one_turn()); }
  SUBCASE("the loser is a spawned task") {
    auto f = eddy::spawn(loop, program::of_tasks());
    loop.run();
    CHECK(f.ready());
  }
  loop.run();
  CHECK(what == "lost.");
}

ASYNC_TEST("a select cancels a losing future, and its promise is no longer wanted") {
  eddy::promise<int> p;
  bool cancelled = false;
  p.on_cancel([&] { cancelled = true; });
  auto first = co_await eddy::select(p.get_future(), at_once(2));
  CHECK(first.index() == 1);
  CHECK(cancelled);
  CHECK_FALSE(p.wanted());
}

ASYNC_TEST("the losers are destroyed before the rest of the awaiting expression") {
  int alive = 0;
  auto loser = hold(counted(alive), 1h);
  const int left = (co_await eddy::select(std::move(loser), after(1s, 1)), alive);
  CHECK(left == 0);
  auto early = hold(counted(alive), 1h);
  const int left_at_once = (co_await eddy::select(std::move(early), at_once(1)), alive);
  CHECK(left_at_once == 0);
  CHECK(loop.count().timers == 0);
}

ASYNC_TEST("a select of a range gives the index and the value") {
  SUBCASE("of values") {
    std::vector<eddy::task<int>> tasks;
    for (int i = 0; i < 100; ++i) tasks.push_back(after(1ms * (i == 42 ? 1 : 100 + i), i));
    auto [index, value] = co_await eddy::select(std::move(tasks));
    CHECK(index == 42);
    CHECK(value == 42);
  }
  SUBCASE("of strings, in a structured binding") {
    auto word = []() -> eddy::task<std::string> {
      co_await eddy::sleep(1s);
      co_return std::string(100, 'a');
    };
    std::vector<eddy::task<std::string>> tasks;
    tasks.push_back(word());
    tasks.push_back(word());
    auto [index, text] = co_await eddy::select(std::move(tasks));
    CHECK(index == 0);
    CHECK(text == std::string(100, 'a'));
  }
  SUBCASE("of void") {
    int alive = 0;
    std::vector<eddy::task<>> tasks;
    tasks.push_back(hold(counted(alive), 2s));
    tasks.push_back(hold(counted(alive), 1s));
    const eddy::selected<void> first = co_await eddy::select(std::move(tasks));
    CHECK(first.index == 1);
    CHECK(alive == 0);
  }
  SUBCASE("of tasks that throw") {
    std::vector<eddy::task<>> tasks;
    tasks.push_back(fail_after(2s, "second"));
    tasks.push_back(fail_after(1s, "first"));
    std::string what;
    try {
      co_await eddy::select(std::move(tasks));
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    CHECK(what == "first");
  }
  CHECK(loop.count().timers == 0);
}

ASYNC_TEST("a loop of selects with a ready branch lets other tasks run") {
  bool done = false;
  struct program {
    static eddy::task<> other(bool* flag) {
      *flag = true;
      co_return;
    }
  };
  auto f = eddy::spawn(program::other(&done));
  for (int i = 0; i < 1000 && !done; ++i) {
    eddy::promise<int> p;
    auto ready = p.get_future();
    p.set_value(1);
    auto first = co_await eddy::select(std::move(ready), eddy::sleep(1h));
    CHECK(first.index() == 0);
  }
  CHECK(done);
}

TEST_CASE_FIXTURE(async_fixture, "destroying a select cancels its branches") {
  int alive = 0;
  auto f = eddy::spawn(loop, eddy::select(hold(counted(alive), 1h), hold(counted(alive), 2h)));
  CHECK(alive == 2);
  SUBCASE("before the select starts") {}
  SUBCASE("while all branches are suspended") {
    loop.run_ready();
    CHECK(loop.count().timers == 2);
    const auto tree = loop.dump();
    CHECK(tree.contains("the first of\n"));
    CHECK(tree.contains("hold at select_test.cc:"));
  }
  f = {};
  CHECK(alive == 0);
  CHECK(loop.count().timers == 0);
}

TEST_CASE_FIXTURE(async_fixture,
                  "the first branch that need not suspend wins, whatever ran before in the turn") {
  struct program {
    static eddy::task<int> give(int value) { co_return value; }
    static eddy::task<int> within(int value) {
      const int given = co_await give(value);
      co_return given;
    }
    static eddy::task<int> deeper(int value) {
      const int given = co_await within(value);
      co_return given;
    }
    static eddy::task<int> nested(int value) {
      const int given = co_await within(value);
      const auto first = co_await eddy::select(give(given), give(0));
      co_return std::get<0>(first);
    }
    static eddy::task<int> never_begun(bool* begun) {
      *begun = true;
      co_return 0;
    }
    static eddy::task<bool> run(int before) {
      co_await eddy::yield();
      for (int i = 0; i < before; ++i) co_await give(0);
      bool begun = false;
      const auto first = co_await eddy::select(deeper(1), never_begun(&begun));
      for (int i = 0; i < before; ++i) co_await give(0);
      const auto second = co_await eddy::select(nested(1), never_begun(&begun));
      for (int i = 0; i < before; ++i) co_await give(0);
      const int success = co_await eddy::race_ok(deeper(1), never_begun(&begun));
      co_return first.index() == 0 && second.index() == 0 && success == 1 && !begun;
    }
  };
  for (int before = 0; before < 2 * eddy::event_loop::share; ++before) {
    CAPTURE(before);
    CHECK(eddy::block_on(loop, program::run(before)));
  }
}

TEST_CASE_FIXTURE(async_fixture, "destroying a loser may destroy the waiter of the select") {
  journal note;
  eddy::future<> waiter;
  struct program {
    static eddy::task<> wait(eddy::future<>* self, journal* to, eddy::duration winner) {
      auto drops = [=] {
        (*to)("dropped");
        *self = {};
      };
      auto loser = hold_end(at_end(std::move(drops)));
      co_await eddy::select(std::move(loser), note_and_wait(to, 1, winner));
      co_await eddy::yield();
      (*to)("never");
    }
  };
  SUBCASE("the winner completes later") {
    waiter = eddy::spawn(loop, program::wait(&waiter, &note, 1s));
    loop.run();
  }
  SUBCASE("the winner completes at once") {
    waiter = eddy::spawn(loop, program::wait(&waiter, &note, 0s));
    loop.run();
  }
  CHECK(note == "1 dropped");
}

ASYNC_TEST("the loop can be dumped while the branches of a select are destroyed") {
  auto look = [](eddy::event_loop* on, eddy::duration d) -> eddy::task<> {
    const at_end looks([on] { CHECK(on->dump().contains("tasks")); });
    if (d != 0s) co_await eddy::sleep(d);
  };
  co_await eddy::select(look(&loop, 3s), look(&loop, 1s), look(&loop, 2s));
  co_await eddy::select(look(&loop, 3s), look(&loop, 0s), look(&loop, 2s));
}

TEST_CASE("a select of an empty range aborts") {
  dies_saying("select was given an empty range",
              [] { eddy::block_on(eddy::select(std::vector<eddy::task<>>())); });
}
