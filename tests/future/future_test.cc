// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/future.h>.
#include <eddy/future/future.h>

#include <any>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/block_on.h>
#include <eddy/future/flow/shared.h>
#include <eddy/future/join.h>
#include <eddy/future/promise.h>
#include <eddy/future/scope.h>
#include <eddy/future/select.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/timeout.h>
#include <eddy/future/yield.h>
#include <eddy/loop/detail/block_pool.h>

#include "support/async_test.h"
#include "support/brittle.h"
#include "support/counted.h"
#include "support/forked.h"
#include "support/journal.h"

using namespace std::chrono_literals;

static_assert(std::is_nothrow_move_constructible_v<eddy::future<std::string>>);
static_assert(std::is_nothrow_default_constructible_v<eddy::future<>>);
static_assert(!std::is_copy_constructible_v<eddy::future<>>);

namespace {

eddy::task<int> after(eddy::duration delay, int n) {
  co_await eddy::sleep(delay);
  co_return n;
}

eddy::task<int> fails(eddy::duration delay) {
  co_await eddy::sleep(delay);
  throw std::runtime_error("no luck");
}

eddy::task<> note_value(eddy::future<int> f, journal* note) {
  const int n = co_await std::move(f);
  (*note)(n);
}

/// The message of the error of `f`, or an empty string without an error.
template <class T>
eddy::task<std::string> words_of_error(eddy::future<T> f) {
  try {
    co_await std::move(f);
  } catch (const std::exception& e) {
    co_return e.what();
  }
  co_return "";
}

}  // namespace

ASYNC_TEST("awaiting a ready future does not suspend") {
  auto f = eddy::spawn(after(1ms, 7));
  co_await eddy::sleep(2ms);
  CHECK(f.ready());

  bool other_ran = false;
  loop.defer([&] { other_ran = true; });
  const int n = co_await std::move(f);
  CHECK(n == 7);
  CHECK_FALSE(other_ran);
  co_await eddy::yield();
  CHECK(other_ran);
}

ASYNC_TEST("take gives the result of a ready future without a wait") {
  auto f = eddy::spawn(after(0ms, 7));
  CHECK_FALSE(f.ready());
  co_await eddy::sleep(1ms);
  const auto o = std::move(f).take();
  CHECK(*o == 7);
  CHECK_FALSE(f);
}

TEST_CASE_FIXTURE(async_fixture, "waiters resume in the order in which their promises were set") {
  journal note;
  std::vector<eddy::promise<int>> promises;
  std::vector<eddy::future<>> waiters;
  for (int i = 0; i < 5; ++i) {
    promises.emplace_back(loop);
    waiters.push_back(eddy::spawn(loop, note_value(promises.back().get_future(), &note)));
  }
  loop.run();
  for (const int i : {3, 0, 4, 1, 2}) promises[static_cast<std::size_t>(i)].set_value(i);
  loop.run();
  CHECK(note == "3 0 4 1 2");
  waiters.clear();
}

TEST_CASE_FIXTURE(async_fixture, "an error that nobody took leaves run") {
  {
    auto f = eddy::spawn(loop, fails(1ms));
    loop.run();
    CHECK(f.ready());
  }
  CHECK_THROWS_AS(loop.run(), std::runtime_error);
}

TEST_CASE_FIXTURE(async_fixture, "an error that nobody took goes to on_exception") {
  std::string seen;
  loop.on_exception([&](std::exception_ptr e) {
    try {
      std::rethrow_exception(e);
    } catch (const std::exception& known) {
      seen = known.what();
    }
  });
  SUBCASE("the error of a task") {
    {
      auto f = eddy::spawn(loop, fails(1ms));
      loop.run();
    }
    loop.run();
    CHECK(seen == "no luck");
  }
  SUBCASE("the error of a chain") {
    {
      auto f = eddy::spawn(loop, fails(1ms)).then([](int n) { return n + 1; });
      loop.run();
    }
    loop.run();
    CHECK(seen == "no luck");
  }
  SUBCASE("but not an error that an await took") {
    CHECK_THROWS_AS(eddy::block_on(loop, eddy::spawn(loop, fails(1ms))), std::runtime_error);
    loop.run();
    CHECK(seen.empty());
  }
}

ASYNC_TEST("then calls its function with the value and completes with the function's result") {
  auto f = eddy::spawn(after(1ms, 20))
               .then([](int n) { return n + 1; })
               .then([](int n) { return std::make_unique<int>(2 * n); })
               .then([](std::unique_ptr<int> n) { return std::to_string(*n); });
  const std::string text = co_await std::move(f);
  CHECK(text == "42");
}

ASYNC_TEST("then awaits an awaitable that its function returns") {
  SUBCASE("a task") {
    auto f = eddy::spawn(after(1ms, 1)).then([](int n) { return after(1ms, n + 1); });
    static_assert(std::is_same_v<decltype(f), eddy::future<int>>);
    const int two = co_await std::move(f);
    CHECK(two == 2);
  }
  SUBCASE("a future") {
    auto f = eddy::spawn(after(1ms, 1)).then([](int n) { return eddy::spawn(after(1ms, n + 1)); });
    static_assert(std::is_same_v<decltype(f), eddy::future<int>>);
    const int two = co_await std::move(f);
    CHECK(two == 2);
  }
  SUBCASE("an operation") {
    const auto before = clock.now();
    auto f = eddy::spawn(after(1ms, 1)).then([](int) { return eddy::sleep(1h); });
    static_assert(std::is_same_v<decltype(f), eddy::future<void>>);
    co_await std::move(f);
    CHECK(clock.now() - before == 1h + 1ms);
  }
}

ASYNC_TEST("a then function's captures live until the task it returned completes") {
  int alive = 0;
  {
    auto slow = [held = counted(alive), &alive](int n) -> eddy::task<int> {
      co_await eddy::sleep(1s);
      co_return alive == 0 ? 0 : n + 1;
    };
    auto sum = eddy::spawn(after(1ms, 3)).then(std::move(slow));
    CHECK(co_await std::move(sum) == 4);
  }
  CHECK(alive == 0);
  static_cast<void>(loop);
}

ASYNC_TEST("a then function that takes a value is skipped on an error") {
  bool called = false;
  auto f = eddy::spawn(fails(1ms)).then([&](int) { called = true; }).then([&] { called = true; });
  const std::string what = co_await words_of_error(std::move(f));
  CHECK(what == "no luck");
  CHECK_FALSE(called);
}

ASYNC_TEST("a then function that takes an outcome is called with a value and with an error") {
  const auto rescue = [](eddy::outcome<int> o) { return o ? *o : -1; };
  auto good = eddy::spawn(after(1ms, 1)).then(rescue);
  auto bad = eddy::spawn(fails(1ms)).then(rescue);
  const int one = co_await std::move(good);
  const int none = co_await std::move(bad);
  CHECK(one == 1);
  CHECK(none == -1);
}

ASYNC_TEST("a then function with a std::any parameter gets the value and is skipped on an error") {
  const auto is_number = [](const std::any& v) { return std::any_cast<int>(&v) != nullptr; };
  auto good = eddy::spawn(after(1ms, 1)).then(is_number);
  const bool number = co_await std::move(good);
  CHECK(number);
  bool called = false;
  auto bad = eddy::spawn(fails(1ms)).then([&](const std::any&) { called = true; });
  const std::string what = co_await words_of_error(std::move(bad));
  CHECK(what == "no luck");
  CHECK_FALSE(called);
}

namespace {

struct text_of {
  std::size_t size() const { return words.size(); }
  std::string words = "seven";
};

// Each class can be called with an outcome<int> as well as with an int.
struct any_once {
  bool operator()(std::any v) && { return std::any_cast<int>(&v) != nullptr; }
};
struct any_and_more {
  bool operator()(std::any v, int = 3) const { return std::any_cast<int>(&v) != nullptr; }
};
struct outcome_once {
  bool operator()(eddy::outcome<int> o) && { return o.has_value(); }
};

}  // namespace

ASYNC_TEST("then finds a function's declared parameter, however the function is qualified") {
  auto once = eddy::spawn(after(1ms, 1)).then(any_once());
  const bool value_once = co_await std::move(once);
  CHECK(value_once);
  auto more = eddy::spawn(after(1ms, 1)).then(any_and_more());
  const bool value_of_more = co_await std::move(more);
  CHECK(value_of_more);
  auto generic = eddy::spawn(after(1ms, 1)).then([](auto v) { return v + 1; });
  const int two = co_await std::move(generic);
  CHECK(two == 2);
  auto told = eddy::spawn(fails(1ms)).then(outcome_once());
  const bool had_value = co_await std::move(told);
  CHECK_FALSE(had_value);

  // A member function is skipped on an error.
  const auto text_later = [](bool fail) -> eddy::task<text_of> {
    co_await eddy::yield();
    if (fail) throw std::runtime_error("no luck");
    co_return text_of();
  };
  auto five = eddy::spawn(text_later(false)).then(std::mem_fn(&text_of::size));
  const std::size_t size = co_await std::move(five);
  CHECK(size == 5);
  auto none = eddy::spawn(text_later(true)).then(std::mem_fn(&text_of::size));
  const std::string what = co_await words_of_error(std::move(none));
  CHECK(what == "no luck");
}

ASYNC_TEST("a then function may return a reference") {
  int one = 1;
  auto referring = eddy::spawn(after(1ms, 1)).then([&one](int) -> int& { return one; });
  int& same = co_await std::move(referring);
  CHECK(&same == &one);
}

ASYNC_TEST("an error that a then function throws is the new future's") {
  auto f = eddy::spawn(after(1ms, 1)).then([](int) -> int { throw std::logic_error("mine"); });
  const std::string what = co_await words_of_error(std::move(f));
  CHECK(what == "mine");
}

TEST_CASE_FIXTURE(async_fixture, "then never calls its function inside the call of then") {
  journal note;
  eddy::promise<> p(loop);
  p.set_value();
  auto f = p.get_future().then([&] { note("called"); });
  note("made");
  loop.run();
  CHECK(note == "made called");
  CHECK(f.ready());
}

TEST_CASE_FIXTURE(async_fixture, "destroying the last future of a chain cancels the whole chain") {
  int alive = 0;
  struct program {
    static eddy::task<int> hold(counted) {
      co_await eddy::sleep(1h);
      co_return 1;
    }
  };
  auto f = eddy::spawn(loop, program::hold(counted(alive)))
               .then([held = counted(alive)](int n) { return n; })
               .then([held = counted(alive)](int n) { return n; });
  CHECK(alive == 3);

  SUBCASE("before the chain starts") {}
  SUBCASE("while the chain is suspended") { loop.run_ready(); }
  f = {};
  CHECK(alive == 0);
  CHECK(loop.count().tasks == 0);
}

TEST_CASE_FIXTURE(async_fixture, "a then function may destroy the future of its own result") {
  // Frees what the block_pool would keep, so that a use of it is seen.
  using eddy::detail::failing_allocations;
  const failing_allocations none(SIZE_MAX, failing_allocations::times::once);
  journal note;
  eddy::future<> last;

  SUBCASE("and return a value") {
    last = eddy::spawn(loop, after(1ms, 1)).then([&](int) {
      last = {};
      note("dropped");
    });
  }
  SUBCASE("and return a task, which is not started") {
    last = eddy::spawn(loop, after(1ms, 1))
               .then([&](int) {
                 last = {};
                 note("dropped");
                 return after(1ms, 2);
               })
               .then([&](int) { note("never"); });
  }
  SUBCASE("and throw; the error leaves run") {
    last = eddy::spawn(loop, after(1ms, 1)).then([&](int) {
      last = {};
      note("dropped");
      throw std::runtime_error("nobody is left to see it");
    });
    CHECK_THROWS_WITH(loop.run(), "nobody is left to see it");
  }
  loop.run();
  CHECK(note == "dropped");
}

TEST_CASE_FIXTURE(async_fixture, "moving a value may destroy the future that the value is for") {
  // Frees what the block_pool would keep, so that a use of it is seen.
  using eddy::detail::failing_allocations;
  const failing_allocations none(SIZE_MAX, failing_allocations::times::once);
  static int alive;
  static int moves_left;
  static eddy::future<> work;
  struct value {
    value() { ++alive; }
    value(value&&) noexcept {
      ++alive;
      if (--moves_left == 0) work = {};
    }
    value& operator=(value&&) = delete;
    ~value() { --alive; }
  };
  struct program {
    static eddy::task<value> make() { co_return value(); }
    static eddy::task<> of_spawned() { co_await eddy::spawn(make()); }
    static eddy::task<> of_then() {
      co_await eddy::spawn(make()).then([](value v) { return v; });
    }
    static eddy::task<> of_shared() {
      const eddy::shared<value> all(make());
      co_await all;
    }
  };
  const auto forms = {&program::of_spawned, &program::of_then, &program::of_shared};
  for (const auto form : forms) {
    for (int moves = 1; moves < 10; ++moves) {
      moves_left = moves;
      work = eddy::spawn(loop, form());
      loop.run();
      work = {};
      CHECK(alive == 0);
    }
  }
  // This `then` moves the value out of the future that it awaits.
  for (int moves = 1; moves < 10; ++moves) {
    moves_left = moves;
    work = eddy::spawn(loop, program::make()).then([](const value&) {});
    loop.run();
    work = {};
    CHECK(alive == 0);
  }
}

TEST_CASE_FIXTURE(async_fixture, "assigning to a future cancels its previous work at once") {
  bool cancelled = false;
  eddy::promise<int> first(loop);
  eddy::promise<int> second(loop);
  first.on_cancel([&] { cancelled = true; });
  auto f = first.get_future();
  auto g = second.get_future();
  f = std::move(g);
  CHECK(cancelled);
  CHECK_FALSE(g);
  second.set_value(1);
  CHECK(eddy::block_on(loop, std::move(f)) == 1);
}

TEST_CASE_FIXTURE(async_fixture, "a then function may dump the loop") {
  std::string tree;
  struct program {
    static eddy::task<> wait(eddy::future<> f) { co_await std::move(f); }
  };
  auto chain = eddy::spawn(loop, after(1ms, 1)).then([&](int) { tree = loop.dump(); });
  eddy::block_on(loop, program::wait(std::move(chain)));
  CHECK(tree.contains("wait at future_test.cc"));
  CHECK(tree.contains(": then\n"));
}

TEST_CASE_FIXTURE(async_fixture, "an error that moving a value throws is the future's error") {
  for (int strength = 0; strength < 6; ++strength) {
    eddy::promise<brittle> p(loop);
    auto f = p.get_future().then([](brittle) {});
    try {
      p.set_value(strength);
      eddy::block_on(loop, std::move(f));
    } catch (const std::runtime_error& e) {
      CHECK(std::string(e.what()) == "broke");
    }
  }
}

TEST_CASE_FIXTURE(async_fixture,
                  "a million awaits of ready futures grow no stack and let other tasks run") {
  struct program {
    static eddy::task<bool> loop_over(eddy::event_loop* on, int n) {
      const void* first = nullptr;
      bool same = true;
      for (int i = 0; i < n; ++i) {
        eddy::promise<> p(*on);
        p.set_value();
        co_await p.get_future();
        const void* const here = __builtin_frame_address(0);
        if (first == nullptr) first = here;
        same = same && here == first;
      }
      co_return same;
    }
    static eddy::task<> count(int* turns) {
      for (;;) {
        ++*turns;
        co_await eddy::yield();
      }
    }
  };
  constexpr int million = 1'000'000;
  int turns = 0;
  auto other = eddy::spawn(loop, program::count(&turns));
  CHECK(eddy::block_on(loop, program::loop_over(&loop, million)));
  CHECK(turns >= million / eddy::event_loop::share / 2);
  CHECK(turns < million / 10);
}

ASYNC_TEST("detached work runs to its end") {
  journal note;
  auto work = [&note](eddy::duration delay) -> eddy::task<> {
    co_await eddy::sleep(delay);
    note("done");
  };
  eddy::spawn(work, 1s).detach();
  eddy::spawn(work, 2s).then([&note] { note("then"); }).detach();
  eddy::promise<int> promise;
  promise.get_future().detach();
  CHECK(promise.wanted());
  CHECK(loop.dump().contains("a promise that nobody has set"));
  promise.set_value(1);
  CHECK_FALSE(loop.dump().contains("a promise that nobody has set"));
  co_await eddy::sleep(3s);
  CHECK(note == "done done then");
}

TEST_CASE_FIXTURE(async_fixture, "the error of detached work leaves run") {
  auto f = eddy::spawn(loop, fails(1ms));
  SUBCASE("detached before the error") { std::move(f).detach(); }
  SUBCASE("a detached chain") {
    std::move(f).then([](int n) { return n; }).detach();
  }
  SUBCASE("detached after the error") {
    loop.run();
    std::move(f).detach();
  }
  CHECK_THROWS_WITH_AS(loop.run(), "no luck", std::runtime_error);
}

TEST_CASE_FIXTURE(tidy, "destroying a loop cancels the detached work on it") {
  int alive = 0;
  struct program {
    static eddy::task<> hold(counted) { co_await eddy::sleep(1h); }
  };
  std::optional<eddy::promise<>> promise;
  bool cancelled = false;
  {
    eddy::event_loop loop;
    eddy::spawn(loop, program::hold(counted(alive))).detach();
    loop.run_ready();
    eddy::spawn(loop, program::hold(counted(alive))).detach();
    eddy::spawn(loop, program::hold(counted(alive))).then([held = counted(alive)] {}).detach();
    promise.emplace(loop).get_future().detach();
    promise->on_cancel([&] { cancelled = true; });
    CHECK(alive == 4);
  }
  CHECK(alive == 0);
  CHECK(cancelled);
  CHECK_FALSE(promise->wanted());
  CHECK(eddy::frame_count() == 0);
}

TEST_CASE("misuse of a future aborts") {
  struct program {
    static eddy::task<> await(eddy::future<int>* f) { co_await std::move(*f); }
  };
  dies_saying("a future was awaited or detached twice", [] {
    eddy::event_loop loop;
    eddy::promise<int> p(loop);
    p.set_value(1);
    auto f = p.get_future();
    eddy::block_on(loop, program::await(&f));
    eddy::block_on(loop, program::await(&f));
  });
  dies_saying("a future was awaited on another loop than its own", [] {
    eddy::event_loop one;
    eddy::promise<int> p(one);
    auto f = p.get_future();
    eddy::event_loop two;
    eddy::block_on(two, program::await(&f));
  });
  dies_saying("a future was awaited on another loop than its own", [] {
    eddy::event_loop one;
    eddy::promise<int> p(one);
    p.set_value(1);
    auto f = p.get_future();
    eddy::event_loop two;
    eddy::block_on(two, program::await(&f));
  });
  struct ring {
    static eddy::task<> await(eddy::future<>* f) {
      co_await eddy::yield();
      co_await std::move(*f);
    }
    static eddy::task<> select(eddy::future<>* f) {
      co_await eddy::yield();
      co_await eddy::select(eddy::sleep(1ms), await(f));
    }
  };
  dies_saying("a task awaited its own future, or the future of a task that awaits it", [] {
    eddy::event_loop loop;
    eddy::future<> own;
    own = eddy::spawn(loop, ring::await(&own));
    loop.run();
  });
  dies_saying("a task awaited its own future, or the future of a task that awaits it", [] {
    eddy::event_loop loop;
    eddy::future<> own;
    own = eddy::spawn(loop, ring::select(&own));
    loop.run();
  });
  dies_saying("a task awaited its own future, or the future of a task that awaits it", [] {
    eddy::event_loop loop;
    eddy::future<> one;
    eddy::future<> two;
    one = eddy::spawn(loop, ring::select(&two));
    two = eddy::spawn(loop, ring::await(&one));
    loop.run();
  });
  dies_saying("future::take was called on a future that is not ready", [] {
    eddy::event_loop loop;
    eddy::promise<int> p(loop);
    static_cast<void>(p.get_future().take());
  });
  dies_saying("future::then was called on a future that was moved from or awaited",
              [] { static_cast<void>(eddy::future<int>().then([](int) {})); });
  dies_saying("returned a future that was moved from or awaited", [] {
    eddy::event_loop loop;
    auto f = eddy::spawn(loop, after(0ms, 1)).then([](int) { return eddy::future<int>(); });
    loop.run();
  });
}

namespace {

/// A ring of tasks that await each other, too long for the check in `co_await` to find.
class far_ring {
public:
  static constexpr int length = 200;

  eddy::task<> beside(eddy::task<> other) {
    co_await eddy::yield();
    co_await eddy::join(deep(length), std::move(other));
  }
  eddy::task<> in_time() {
    co_await eddy::yield();
    co_await eddy::timeout(10ms, deep(length));
  }
  eddy::task<> in_scope(eddy::task<> other) {
    eddy::scope s;
    s.spawn(deep(0));
    s.spawn(std::move(other));
    co_await eddy::sleep(1ms);  // `own` is awaited before this coroutine joins
    co_await s.join();
  }

  eddy::future<> own;

private:
  eddy::task<> deep(int levels) {
    if (levels != 0) co_return co_await deep(levels - 1);
    co_await std::move(own);
  }
};

eddy::task<> fail_later() {
  co_await eddy::sleep(1ms);
  throw std::runtime_error("later");
}

eddy::task<> look_later(bool* looked) {
  co_await eddy::sleep(2ms);
  *looked = !eddy::current_deadline();
}

}  // namespace

TEST_CASE("cancelling part of a long ring of tasks aborts") {
  dies_saying("a task awaited its own future, or the future of a task that awaits it", [] {
    eddy::manual_clock clock(eddy::manual_clock::idle::jump);
    eddy::event_loop loop(clock);
    far_ring ring;
    ring.own = eddy::spawn(loop, ring.beside(fail_later()));
    loop.run();
  });
  dies_saying("a task awaited its own future, or the future of a task that awaits it", [] {
    eddy::manual_clock clock(eddy::manual_clock::idle::jump);
    eddy::event_loop loop(clock);
    far_ring ring;
    ring.own = eddy::spawn(loop, ring.in_time());
    loop.run();
  });
}

TEST_CASE_FIXTURE(async_fixture, "a task that has cancelled other tasks can be cancelled itself") {
  const auto nap = []() -> eddy::task<> { co_await eddy::sleep(1h); };
  const auto cancels = [&]() -> eddy::task<> {
    for (int i = 0; i < 2; ++i) co_await eddy::select(eddy::spawn(nap()), eddy::sleep(1ms));
    co_await eddy::sleep(1h);
  };
  const auto outer = [&]() -> eddy::task<> {
    co_await eddy::select(eddy::spawn(cancels()), eddy::sleep(1s));
  };
  const eddy::future<> all = eddy::spawn(loop, outer());
  loop.run();
  CHECK(all.ready());
}

TEST_CASE("dump and current_deadline return in a ring of tasks") {
  const auto looks = [](eddy::task<> (far_ring::*work)(eddy::task<>)) {
    return holds_in_child([work] {
      auto& loop = *new eddy::event_loop;  // leaked: destroying a ring aborts
      auto& ring = *new far_ring;
      bool looked = false;
      ring.own = eddy::spawn(loop, (ring.*work)(look_later(&looked)));
      loop.run();
      static_cast<void>(loop.dump());
      return looked;
    });
  };
  CHECK(looks(&far_ring::beside));
  CHECK(looks(&far_ring::in_scope));
}

TEST_SUITE("threads") {
  TEST_CASE("awaiting a future on another thread's loop aborts") {
    dies_saying("a future was awaited on another loop than its own", [] {
      eddy::event_loop loop;
      eddy::promise<int> p(loop);
      auto f = p.get_future();
      std::thread([&] {
        eddy::event_loop other;
        eddy::block_on(other, std::move(f));
      }).join();
    });
  }
}
