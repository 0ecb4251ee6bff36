// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/task.h>.
#include <eddy/future/task.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/block_on.h>
#include <eddy/future/flow/concurrent.h>
#include <eddy/future/join.h>
#include <eddy/future/promise.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/timeout.h>
#include <eddy/future/yield.h>

#include "support/async_test.h"
#include "support/counted.h"
#include "support/forked.h"
#include "support/journal.h"

using namespace std::chrono_literals;

static_assert(std::is_nothrow_move_constructible_v<eddy::task<std::string>>);
static_assert(std::is_nothrow_move_assignable_v<eddy::task<>>);
static_assert(!std::is_copy_constructible_v<eddy::task<>>);
static_assert(!std::is_copy_assignable_v<eddy::task<>>);

static_assert(sizeof(eddy::detail::task_promise<void>) <= 48, "it is in every frame");
static_assert(sizeof(eddy::detail::task_wait<void>) <= 8,
              "it is in the frame for each co_await of a task");

namespace {

eddy::task<> say(journal* note, const char* what) {
  (*note)(what);
  co_return;
}

eddy::task<int> twice(int n) { co_return 2 * n; }

eddy::task<int> throws(const char* what) {
  throw std::runtime_error(what);
  co_return 0;
}

eddy::task<int&> itself(int* n) { co_return *n; }

eddy::task<std::unique_ptr<int>> boxed(int n) { co_return std::make_unique<int>(n); }

/// Notes its destruction.
class mark {
public:
  mark(journal& note, std::string name) : note_(&note), name_(std::move(name)) {}
  mark(mark&& other) noexcept
      : note_(std::exchange(other.note_, nullptr)), name_(std::move(other.name_)) {}
  mark& operator=(mark&&) = delete;
  ~mark() {
    if (note_ != nullptr) (*note_)("~" + name_);
  }

private:
  journal* note_;
  std::string name_;
};

eddy::task<> sleep_with(mark /*argument*/, journal* note, std::string name) {
  const mark local(*note, name + ".local");
  co_await eddy::sleep(1s);
  (*note)(name + ".end");
}

eddy::task<> nest(journal* note, int depth) {
  const mark local(*note, std::to_string(depth));
  if (depth == 3) {
    co_await eddy::sleep(1s);
  } else {
    co_await nest(note, depth + 1);
  }
}

}  // namespace

TEST_CASE("a task does nothing until it is awaited") {
  journal note;
  {
    auto hello = say(&note, "hello, world");
    CHECK(eddy::frame_count() == 1);
    CHECK(note == "");

    eddy::block_on(std::move(hello));
    CHECK(note == "hello, world");

    auto never = say(&note, "never");
  }
  CHECK(note == "hello, world");
  CHECK(eddy::frame_count() == 0);
}

ASYNC_TEST("a task gives a value of any type, a reference or void") {
  const int four = co_await twice(2);
  CHECK(four == 4);

  int place = 7;
  int& same = co_await itself(&place);
  CHECK(&same == &place);

  const auto box = co_await boxed(5);
  CHECK(*box == 5);

  journal note;
  co_await say(&note, "void");
  CHECK(note == "void");
}

ASYNC_TEST("an exception that leaves a task is thrown by its co_await") {
  std::string what;
  try {
    co_await throws("no luck");
  } catch (const std::runtime_error& e) {
    what = e.what();
  }
  CHECK(what == "no luck");
}

ASYNC_TEST("an exception passes through every task that does not catch it") {
  struct chain {
    static eddy::task<int> deep(int depth) {
      if (depth == 0) co_await eddy::sleep(1ms);
      if (depth == 0) throw std::out_of_range("deep");
      const int n = co_await deep(depth - 1);
      co_return n;
    }
  };
  std::string what;
  try {
    co_await chain::deep(20);
  } catch (const std::out_of_range& e) {
    what = e.what();
  }
  CHECK(what == "deep");
}

ASYNC_TEST("co_await runs a task at once, up to its first suspension") {
  struct program {
    static eddy::task<> child(journal* note) {
      (*note)("begins");
      co_await eddy::yield();
      (*note)("ends");
    }
  };
  journal note;
  note("before");
  co_await program::child(&note);
  note("after");
  CHECK(note == "before begins ends after");
}

ASYNC_TEST("a task's arguments are destroyed with the task, before its awaiter resumes") {
  journal note;
  co_await sleep_with(mark(note, "argument"), &note, "task");
  note("after");
  CHECK(note == "task.end ~task.local ~argument after");
}

ASYNC_TEST("assigning to a task destroys its previous coroutine") {
  int alive = 0;
  struct program {
    static eddy::task<> hold(counted) { co_return; }
  };
  auto first = program::hold(counted(alive));
  auto second = program::hold(counted(alive));
  CHECK(alive == 2);

  first = std::move(second);
  CHECK(alive == 1);
  CHECK(first);
  CHECK_FALSE(second);

  co_await std::move(first);
  CHECK(alive == 0);
}

TEST_CASE_FIXTURE(async_fixture, "destroying a task destroys its locals and arguments at once") {
  journal note;

  SUBCASE("before its start") {
    {
      auto t = sleep_with(mark(note, "argument"), &note, "task");
    }
    CHECK(note == "~argument");
  }
  SUBCASE("after it was spawned, before its start") {
    {
      auto f = eddy::spawn(loop, sleep_with(mark(note, "argument"), &note, "task"));
    }
    CHECK(note == "~argument");
  }
  SUBCASE("while it is suspended") {
    auto f = eddy::spawn(loop, sleep_with(mark(note, "argument"), &note, "task"));
    loop.run_ready();
    f = {};
    CHECK(note == "~task.local ~argument");
  }
  SUBCASE("with nested tasks, the innermost first") {
    auto f = eddy::spawn(loop, nest(&note, 0));
    loop.run_ready();
    f = {};
    CHECK(note == "~3 ~2 ~1 ~0");
  }
  SUBCASE("when its await has completed and it has not resumed") {
    eddy::promise<int> p(loop);
    struct program {
      static eddy::task<> wait(eddy::future<int> f, journal* to) {
        const mark local(*to, "local");
        const int n = co_await std::move(f);
        (*to)(n);
      }
    };
    auto f = eddy::spawn(loop, program::wait(p.get_future(), &note));
    loop.run_ready();
    p.set_value(1);
    f = {};
    CHECK(note == "~local");
  }
  loop.run();
  CHECK_FALSE(note.text().contains("end"));
}

TEST_CASE_FIXTURE(async_fixture, "a task that destroys itself is destroyed at its next co_await") {
  journal note;
  eddy::future<> self;
  struct program {
    static eddy::task<> suicide(eddy::future<>* me, journal* to) {
      const mark local(*to, "local");
      *me = {};
      (*to)("still here");
      co_await eddy::yield();
      (*to)("never");
    }
    static eddy::task<> around(eddy::future<>* me, journal* to) {
      const mark local(*to, "outer");
      co_await suicide(me, to);
      (*to)("never");
    }
    static eddy::task<> goes_on(eddy::future<>* me, journal* to) {
      const mark local(*to, "local");
      *me = {};
      (*to)("still here");
      co_await eddy::sleep(0s);
      (*to)("never");
    }
    static eddy::task<> awaits_another(eddy::future<>* me, journal* to) {
      const mark local(*to, "local");
      *me = {};
      (*to)("still here");
      co_await say(to, "never");
      (*to)("never");
    }
    static eddy::task<> at_the_end(eddy::future<>* me, journal* to) {
      const mark local(*to, "local");
      co_await eddy::yield();
      *me = {};
      (*to)("still here");
    }
  };

  SUBCASE("of yield") {
    self = eddy::spawn(loop, program::suicide(&self, &note));
    loop.run();
    CHECK(note == "still here ~local");
  }
  SUBCASE("that would not suspend") {
    self = eddy::spawn(loop, program::goes_on(&self, &note));
    loop.run();
    CHECK(note == "still here ~local");
  }
  SUBCASE("of a task, which does not start") {
    self = eddy::spawn(loop, program::awaits_another(&self, &note));
    loop.run();
    CHECK(note == "still here ~local");
  }
  SUBCASE("in an inner task") {
    self = eddy::spawn(loop, program::around(&self, &note));
    loop.run();
    CHECK(note == "still here ~local ~outer");
  }
  SUBCASE("or at its end") {
    self = eddy::spawn(loop, program::at_the_end(&self, &note));
    loop.run();
    CHECK(note == "still here ~local");
  }
}

TEST_CASE_FIXTURE(async_fixture, "an error of a task that destroyed itself leaves run") {
  eddy::future<> owner;
  struct program {
    static eddy::task<> drops_itself(eddy::future<>* me) {
      *me = {};
      throw std::runtime_error("nobody's");
      co_return;
    }
    static eddy::task<> drops_itself_later(eddy::future<>* me) {
      co_await eddy::yield();
      co_await drops_itself(me);
    }
    static eddy::task<> around(eddy::future<>* me) { co_await drops_itself_later(me); }
    static eddy::task<> joined(eddy::future<>* me) {
      co_await eddy::join(drops_itself_later(me), eddy::sleep(1s));
    }
    static eddy::task<> one_by_one(eddy::future<>* me) {
      const std::vector all{me};
      co_await eddy::for_each_concurrent(all, 1, &drops_itself_later);
    }
    static eddy::task<> limited(eddy::future<>* me) {
      co_await eddy::timeout(1h, drops_itself_later(me));
    }
    static eddy::task<> catches(eddy::future<>* me) {
      try {
        co_await drops_itself_later(me);
      } catch (...) {
        FAIL("it resumed though it was destroyed");
      }
    }
  };
  SUBCASE("before its first co_await") { owner = eddy::spawn(loop, program::drops_itself(&owner)); }
  SUBCASE("in an inner task") { owner = eddy::spawn(loop, program::around(&owner)); }
  SUBCASE("in a branch of a join") { owner = eddy::spawn(loop, program::joined(&owner)); }
  SUBCASE("in a call of for_each_concurrent") {
    owner = eddy::spawn(loop, program::one_by_one(&owner));
  }
  SUBCASE("under a time limit") { owner = eddy::spawn(loop, program::limited(&owner)); }
  SUBCASE("inside a try block of the destroyed task") {
    owner = eddy::spawn(loop, program::catches(&owner));
  }
  CHECK_THROWS_WITH_AS(loop.run(), "nobody's", std::runtime_error);
  loop.run();
}

TEST_CASE_FIXTURE(async_fixture,
                  "a task that destroys an ancestor is destroyed at its next co_await") {
  journal note;
  eddy::future<> ancestor;
  struct program {
    static eddy::task<> child(eddy::future<>* a, journal* to) {
      const mark local(*to, "child");
      co_await eddy::yield();
      *a = {};
      (*to)("dropped");
      co_await eddy::yield();
      (*to)("never");
    }
    static eddy::task<> awaits_future(eddy::future<>* a, journal* to) {
      const mark local(*to, "parent");
      auto f = eddy::spawn(child(a, to));
      co_await std::move(f);
      (*to)("never");
    }
    static eddy::task<> awaits_then(eddy::future<>* a, journal* to) {
      const mark local(*to, "parent");
      auto f = eddy::spawn(child(a, to)).then([] {});
      co_await std::move(f);
      (*to)("never");
    }
    static eddy::task<> joins(eddy::future<>* a, journal* to) {
      const mark local(*to, "parent");
      co_await eddy::join(child(a, to), eddy::sleep(1h));
      (*to)("never");
    }
  };

  SUBCASE("through a future") {
    ancestor = eddy::spawn(loop, program::awaits_future(&ancestor, &note));
    loop.run();
    CHECK(note == "dropped ~child ~parent");
  }
  SUBCASE("through then") {
    ancestor = eddy::spawn(loop, program::awaits_then(&ancestor, &note));
    loop.run();
    CHECK(note == "~parent dropped ~child");
  }
  SUBCASE("through a join") {
    ancestor = eddy::spawn(loop, program::joins(&ancestor, &note));
    loop.run();
    CHECK(note == "dropped ~child ~parent");
  }
}

TEST_CASE_FIXTURE(async_fixture,
                  "a child's arguments may destroy the parent as the child completes") {
  journal note;
  eddy::future<> parent;
  struct dropper {
    explicit dropper(eddy::future<>* f) noexcept : victim(f) {}
    dropper(dropper&& other) noexcept : victim(std::exchange(other.victim, nullptr)) {}
    ~dropper() {
      if (victim != nullptr) *victim = {};
    }
    eddy::future<>* victim;
  };
  struct program {
    static eddy::task<> child(dropper, bool waits) {
      if (waits) co_await eddy::yield();
    }
    static eddy::task<> awaits(eddy::future<>* self, journal* to, bool waits) {
      const mark local(*to, "parent");
      co_await child(dropper(self), waits);
      (*to)("runs on");
      co_await eddy::yield();
      (*to)("never");
    }
    static eddy::task<> joins(eddy::future<>* self, journal* to, bool waits) {
      const mark local(*to, "parent");
      co_await eddy::join(child(dropper(self), waits), eddy::sleep(1h));
      (*to)("never");
    }
    static eddy::task<> joins_it_alone(eddy::future<>* self, journal* to) {
      const mark local(*to, "parent");
      co_await eddy::join(child(dropper(self), true));
      (*to)("never");
    }
  };

  SUBCASE("a child that did not suspend") {
    parent = eddy::spawn(loop, program::awaits(&parent, &note, false));
    loop.run();
    CHECK(note == "runs on ~parent");
  }
  SUBCASE("a child that suspended") {
    parent = eddy::spawn(loop, program::awaits(&parent, &note, true));
    loop.run();
    CHECK(note == "runs on ~parent");
  }
  SUBCASE("a branch of a join that did not suspend") {
    parent = eddy::spawn(loop, program::joins(&parent, &note, false));
    loop.run();
    CHECK(note == "~parent");
  }
  SUBCASE("a branch of a join that suspended") {
    parent = eddy::spawn(loop, program::joins(&parent, &note, true));
    loop.run();
    CHECK(note == "~parent");
  }
  SUBCASE("the only branch of a join") {
    parent = eddy::spawn(loop, program::joins_it_alone(&parent, &note));
    loop.run();
    CHECK(note == "~parent");
  }
}

TEST_CASE_FIXTURE(async_fixture,
                  "a destructor in a cancelled task may dump, set a promise, cancel and spawn") {
  struct busy {
    explicit busy(std::function<void()> f) : work(std::move(f)) {}
    busy(busy&&) noexcept = default;
    ~busy() {
      if (work) work();
    }
    std::function<void()> work;
  };
  struct program {
    static eddy::task<> inner(busy) { co_await eddy::sleep(1h); }
    static eddy::task<> outer(busy work) { co_await inner(std::move(work)); }
    static eddy::task<> wait(eddy::future<int> f, journal* to) {
      const int n = co_await std::move(f);
      (*to)(n);
    }
  };
  journal note;
  eddy::promise<int> p(loop);
  auto other = eddy::spawn(loop, program::wait(p.get_future(), &note));
  eddy::future<> fresh;
  eddy::future<> third = eddy::spawn(loop, [] { return eddy::sleep(1h); });
  const auto work = [&] {
    CHECK(loop.dump().contains("tasks"));
    p.set_value(5);
    third = {};
    fresh = eddy::spawn(loop, say(&note, "spawned"));
  };

  auto victim = eddy::spawn(loop, program::outer(busy(work)));
  loop.run_ready();
  victim = {};
  loop.run();
  CHECK(note == "5 spawned");
  fresh = {};
  other = {};
}

TEST_CASE_FIXTURE(async_fixture, "an error thrown by a destructor in a cancelled task leaves run") {
  struct thrower {
    ~thrower() noexcept(false) { throw std::runtime_error("late"); }
  };
  struct program {
    static eddy::task<> hold(eddy::task<> other) {
      const auto dropped_after_it = std::move(other);
      const thrower local;
      const auto dropped_before_it = hold_nothing();
      co_await eddy::sleep(1h);
    }
    static eddy::task<> hold_nothing() { co_return; }
    static eddy::task<> await(journal* note) {
      const mark gone(*note, "parent");
      co_await hold(hold_nothing());
      (*note)("never");
    }
    static eddy::task<> join(journal* note) {
      const mark gone(*note, "parent");
      co_await eddy::join(hold(hold_nothing()), eddy::sleep(1h));
      (*note)("never");
    }
  };
  journal note;
  eddy::future<> f;
  SUBCASE("a task that nobody awaits") {
    f = eddy::spawn(loop, program::hold(program::hold_nothing()));
    note("~parent");
  }
  SUBCASE("an awaited task") { f = eddy::spawn(loop, program::await(&note)); }
  SUBCASE("a branch of a join") { f = eddy::spawn(loop, program::join(&note)); }
  loop.run_ready();
  f = {};
  CHECK(note == "~parent");
  CHECK_THROWS_WITH_AS(loop.run(), "late", std::runtime_error);
  loop.run();
  CHECK(note == "~parent");
}

TEST_CASE_FIXTURE(async_fixture, "a chain of a million tasks starts, completes and is cancelled") {
  struct program {
    static eddy::task<int> deep(int depth) {
      if (depth == 0) {
        co_await eddy::sleep(1ms);
        co_return 0;
      }
      const int below = co_await deep(depth - 1);
      co_return below + 1;
    }
    static eddy::task<int> at_once(int depth) {
      if (depth == 0) co_return 0;
      const int below = co_await at_once(depth - 1);
      co_return below + 1;
    }
  };
  constexpr int million = 1'000'000;

  SUBCASE("that suspends") { CHECK(eddy::block_on(loop, program::deep(million)) == million); }
  SUBCASE("that does not suspend") {
    CHECK(eddy::block_on(loop, program::at_once(million)) == million);
  }
  SUBCASE("that is dumped in short, then cancelled") {
    auto f = eddy::spawn(loop, program::deep(million));
    while (loop.run_ready()) {
    }
    CHECK(eddy::frame_count() == million + 1);
    const auto tree = loop.dump();
    CHECK(tree.contains(" tasks deeper: "));
    CHECK(tree.contains("program::deep at task_test.cc:"));
    CHECK(tree.contains("sleep, 1 ms left"));
    CHECK(tree.size() < 20'000);
    f = {};
    CHECK(eddy::frame_count() == 0);
  }
}

TEST_CASE_FIXTURE(async_fixture, "a million tasks awaited in a row grow no stack") {
  struct program {
    static eddy::task<const void*> where() { co_return __builtin_frame_address(0); }
    static eddy::task<std::size_t> loop_over(int n) {
      std::set<const void*> frames;
      for (int i = 0; i < n; ++i) {
        const void* const here = co_await where();
        frames.insert(here);
      }
      co_return frames.size();
    }
  };
  // The awaiter starts most tasks. The loop starts the first one of each turn.
  CHECK(eddy::block_on(loop, program::loop_over(1'000'000)) == 2);
}

ASYNC_TEST("a dump shows a task that did not suspend at its last co_await as running") {
  auto next = twice(1);
  co_await std::move(next);
  CHECK(loop.dump().contains(": running\n"));
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wreturn-type"
TEST_CASE("a task with a value that ends without co_return aborts") {
  dies_saying("ended without co_return; its last co_await", [] {
    struct program {
      static eddy::task<std::string> forget(bool remember) {
        co_await eddy::yield();
        if (remember) co_return "a value";
      }
    };
    eddy::block_on(program::forget(false));
  });
}
#pragma GCC diagnostic pop

TEST_CASE("awaiting a task twice aborts") {
  struct program {
    static eddy::task<> wrong() {
      auto t = twice(1);
      co_await std::move(t);
      co_await std::move(t);
    }
  };
  dies_saying("a task was awaited twice", [] { eddy::block_on(program::wrong()); });
}
