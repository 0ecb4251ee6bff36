// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/join.h>.
#include <eddy/future/join.h>

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/block_on.h>
#include <eddy/future/promise.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/yield.h>

#include "support/async_test.h"
#include "support/counted.h"
#include "support/error_words.h"
#include "support/journal.h"

using namespace std::chrono_literals;

namespace {

eddy::task<int> after(eddy::duration delay, int n) {
  co_await eddy::sleep(delay);
  co_return n;
}

eddy::task<int> at_once(int n) { co_return n; }

eddy::task<int> fails(eddy::duration delay, std::string what) {
  if (delay != 0s) co_await eddy::sleep(delay);
  throw std::runtime_error(what);
}

eddy::task<> hold(counted, eddy::duration delay) { co_await eddy::sleep(delay); }

eddy::task<> say(journal* note, int n) {
  (*note)(n);
  co_await eddy::yield();
  (*note)(n);
}

}  // namespace

ASYNC_TEST("a join runs its branches concurrently and gives their values") {
  const auto before = clock.now();
  auto [a, b, c] = co_await eddy::join(after(3s, 1), after(1s, 2), at_once(3));
  CHECK(a == 1);
  CHECK(b == 2);
  CHECK(c == 3);
  CHECK(clock.now() - before == 3s);
}

ASYNC_TEST("the branches of a join start in order, each running to its first suspension") {
  journal note;
  co_await eddy::join(say(&note, 1), say(&note, 2), say(&note, 3));
  CHECK(note == "1 2 3 1 2 3");
}

ASYNC_TEST("a join takes any awaitable and keeps each value's type") {
  int n = 0;
  eddy::promise<int&> p;
  auto f = p.get_future();
  p.set_value(n);
  auto boxed = []() -> eddy::task<std::unique_ptr<int>> { co_return std::make_unique<int>(4); };

  auto values = co_await eddy::join(std::move(f), boxed(), eddy::sleep(1s));
  static_assert(
      std::is_same_v<decltype(values), std::tuple<int&, std::unique_ptr<int>, std::monostate>>);
  CHECK(&std::get<0>(values) == &n);
  CHECK(*std::get<1>(values) == 4);
}

ASYNC_TEST("a join of void branches gives void") {
  static_assert(
      std::is_void_v<eddy::await_result_t<decltype(eddy::join(eddy::sleep(1s), eddy::sleep(2s)))>>);
  const auto before = clock.now();
  co_await eddy::join(eddy::sleep(1s), eddy::sleep(2s));
  CHECK(clock.now() - before == 2s);
}

ASYNC_TEST("a join of a range gives a vector in the range's order") {
  SUBCASE("of values") {
    std::vector<eddy::task<int>> tasks;
    for (int i = 0; i < 1000; ++i) tasks.push_back(after(1ms * (1000 - i), i));
    const auto values = co_await eddy::join(std::move(tasks));
    REQUIRE(values.size() == 1000);
    for (int i = 0; i < 1000; ++i) REQUIRE(values[static_cast<std::size_t>(i)] == i);
  }
  SUBCASE("of void") {
    std::vector<eddy::task<>> tasks;
    journal note;
    for (int i = 0; i < 3; ++i) tasks.push_back(say(&note, i));
    co_await eddy::join(std::move(tasks));
    CHECK(note == "0 1 2 0 1 2");
  }
  SUBCASE("of futures") {
    std::vector<eddy::future<int>> futures;
    for (int i = 0; i < 3; ++i) futures.push_back(eddy::spawn(after(1ms, i)));
    const auto values = co_await eddy::join(std::move(futures));
    CHECK(values == std::vector{0, 1, 2});
  }
  SUBCASE("of no elements") {
    const auto values = co_await eddy::join(std::vector<eddy::task<int>>());
    CHECK(values.empty());
    co_await eddy::join(std::vector<eddy::task<>>());
  }
}

ASYNC_TEST("a join throws its first error at once, after its other branches are destroyed") {
  int alive = 0;
  std::string what;
  const auto before = clock.now();

  SUBCASE("of arguments") {
    try {
      co_await eddy::join(hold(counted(alive), 1h), fails(1s, "first"), fails(2s, "second"));
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    CHECK(what == "first");
    CHECK(clock.now() - before == 1s);
  }
  SUBCASE("of a range") {
    std::vector<eddy::task<int>> tasks;
    tasks.push_back(after(1h, 1));
    tasks.push_back(fails(2s, "second"));
    tasks.push_back(fails(1s, "first"));
    try {
      co_await eddy::join(std::move(tasks));
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    CHECK(what == "first");
    CHECK(clock.now() - before == 1s);
  }
  SUBCASE("before a later branch starts") {
    journal note;
    try {
      co_await eddy::join(hold(counted(alive), 1h), fails(0s, "at once"), say(&note, 1));
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    CHECK(what == "at once");
    CHECK(note == "");
    CHECK(clock.now() == before);
  }
  CHECK(alive == 0);
  CHECK(loop.count().timers == 0);
}

TEST_CASE_FIXTURE(async_fixture, "a second error of a join in the same turn goes to on_exception") {
  std::string lost;
  loop.on_exception([&](std::exception_ptr e) { lost = words_of(e); });
  struct program {
    static eddy::task<> join_two() {
      eddy::promise<int> a;
      eddy::promise<int> b;
      auto both = eddy::spawn(eddy::join(a.get_future(), b.get_future()));
      co_await eddy::yield();
      a.set_error(std::make_exception_ptr(std::runtime_error("first")));
      b.set_error(std::make_exception_ptr(std::runtime_error("second")));
      std::string what;
      try {
        co_await std::move(both);
      } catch (const std::runtime_error& e) {
        what = e.what();
      }
      CHECK(what == "first");
    }
  };
  eddy::block_on(loop, program::join_two());
  loop.run();
  CHECK(lost == "second");
}

ASYNC_TEST("a branch's arguments are destroyed with the branch, before the join completes") {
  int alive = 0;
  auto looks = [](const int* count, eddy::duration when) -> eddy::task<int> {
    co_await eddy::sleep(when);
    co_return *count;
  };
  auto holds_no_time = [](counted) -> eddy::task<> { co_return; };

  auto waits = hold(counted(alive), 2s);
  auto does_not = holds_no_time(counted(alive));
  auto [before, after, nothing, none] = co_await eddy::join(looks(&alive, 1s), looks(&alive, 3s),
                                                            std::move(waits), std::move(does_not));
  CHECK(before == 1);
  CHECK(after == 0);
}

ASYNC_TEST("joins can be nested") {
  auto pair = [](int n) -> eddy::task<int> {
    auto [a, b] = co_await eddy::join(after(1ms, n), after(2ms, n + 1));
    co_return a + b;
  };
  auto [low, high] = co_await eddy::join(pair(1), pair(10));
  CHECK(low == 3);
  CHECK(high == 21);

  std::string what;
  try {
    co_await eddy::join(eddy::join(after(1h, 1), fails(1ms, "inner")), after(1h, 2));
  } catch (const std::runtime_error& e) {
    what = e.what();
  }
  CHECK(what == "inner");
}

TEST_CASE_FIXTURE(async_fixture, "the loop can be dumped while a join or a future is destroyed") {
  struct looker {
    explicit looker(eddy::event_loop* l) noexcept : on(l) {}
    looker(looker&& other) noexcept : on(std::exchange(other.on, nullptr)) {}
    ~looker() {
      if (on != nullptr) static_cast<void>(on->dump());
    }
    eddy::event_loop* on;
  };
  struct program {
    static eddy::task<> look(looker) { co_await eddy::sleep(1h); }
    static eddy::task<> few(eddy::event_loop* l) {
      co_await eddy::join(look(looker(l)), look(looker(l)), look(looker(l)));
    }
    static eddy::task<> range(eddy::event_loop* l) {
      std::vector<eddy::task<>> all;
      for (int i = 0; i < 3; ++i) all.push_back(look(looker(l)));
      co_await eddy::join(std::move(all));
    }
    static eddy::task<> future(eddy::event_loop* l) {
      auto f = eddy::spawn(look(looker(l)));
      co_await std::move(f);
    }
    static eddy::task<> then(eddy::event_loop* l) {
      auto f = eddy::spawn(look(looker(l))).then([held = looker(l)] {});
      co_await std::move(f);
    }
  };
  eddy::future<> f;
  SUBCASE("a join of arguments") { f = eddy::spawn(loop, program::few(&loop)); }
  SUBCASE("a join of a range") { f = eddy::spawn(loop, program::range(&loop)); }
  SUBCASE("a future") { f = eddy::spawn(loop, program::future(&loop)); }
  SUBCASE("a chain of then") { f = eddy::spawn(loop, program::then(&loop)); }
  while (loop.run_ready()) {
  }
  f = {};
  CHECK(eddy::frame_count() == 0);
}

TEST_CASE_FIXTURE(async_fixture, "destroying a join cancels its branches") {
  int alive = 0;
  auto f = eddy::spawn(loop, eddy::join(hold(counted(alive), 1h), hold(counted(alive), 2h)));
  CHECK(alive == 2);
  SUBCASE("before the join starts") {}
  SUBCASE("while all branches are suspended") {
    loop.run_ready();
    CHECK(loop.count().timers == 2);
    const auto tree = loop.dump();
    CHECK(tree.contains("all of\n"));
    CHECK(tree.contains("hold at join_test.cc:"));
  }
  f = {};
  CHECK(alive == 0);
  CHECK(loop.count().timers == 0);
}

ASYNC_TEST("the loop can be dumped while the branches of a join are destroyed") {
  struct looker {
    explicit looker(eddy::event_loop* l) noexcept : on(l) {}
    looker(looker&& other) noexcept : on(std::exchange(other.on, nullptr)) {}
    ~looker() {
      if (on != nullptr) CHECK(on->dump().contains("tasks"));
    }
    eddy::event_loop* on;
  };
  auto look = [](looker, eddy::duration d) -> eddy::task<> {
    if (d != 0s) co_await eddy::sleep(d);
  };
  co_await eddy::join(look(looker(&loop), 0s), look(looker(&loop), 1s), look(looker(&loop), 2s));

  auto fail = [](looker, eddy::duration d) -> eddy::task<> {
    if (d != 0s) co_await eddy::sleep(d);
    throw std::runtime_error("fails");
  };
  for (const eddy::duration d : {0s, 1s}) {
    bool failed = false;
    try {
      co_await eddy::join(look(looker(&loop), 1h), fail(looker(&loop), d), look(looker(&loop), 1h));
    } catch (const std::runtime_error&) {
      failed = true;
    }
    CHECK(failed);
  }
}

ASYNC_TEST("a branch that fails as the turn ends decides, and its error does not leave run") {
  struct program {
    static eddy::task<> fail_later() {
      co_await eddy::yield();
      throw std::runtime_error("later");
    }
    static eddy::task<> fail_at_once() {
      eddy::event_loop::current()->forbid_going_on();
      throw std::runtime_error("at once");
      co_return;
    }
    static eddy::task<> branch() { co_await fail_at_once(); }
  };
  std::string words;
  try {
    co_await eddy::join(program::fail_later(), program::branch());
  } catch (const std::runtime_error& e) {
    words = e.what();
  }
  CHECK(words == "at once");
  static_cast<void>(loop);
}
