// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/flow/finally.h>.
#include <eddy/future/flow/finally.h>

#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/flow/task_local.h>
#include <eddy/future/scope.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/yield.h>
#include <eddy/loop/detail/block_pool.h>

#include "support/async_test.h"
#include "support/error_words.h"
#include "support/journal.h"

using namespace std::chrono_literals;

namespace {

struct noted {
  noted(journal* n, const char* w) noexcept : note(n), what(w) {}
  noted(noted&& other) noexcept : note(std::exchange(other.note, nullptr)), what(other.what) {}
  ~noted() {
    if (note != nullptr) (*note)(what);
  }
  journal* note;
  const char* what;
};

eddy::task<int> work(journal* note, eddy::duration delay) {
  const noted gone(note, "work");
  co_await eddy::sleep(delay);
  co_return 42;
}

eddy::task<int> fail(std::string why, eddy::duration delay) {
  co_await eddy::sleep(delay);
  throw std::runtime_error(why);
}

eddy::task<> clean_up(journal* note, eddy::duration delay) {
  const noted gone(note, "end");
  (*note)("clean");
  co_await eddy::sleep(delay);
  (*note)("clean");
}

eddy::task<> fail_to_clean_up(std::string why, eddy::duration delay) {
  co_await eddy::sleep(delay);
  throw std::runtime_error(why);
}

template <class Awaitable>
eddy::task<std::string> error_of(Awaitable what) {
  try {
    co_await std::move(what);
  } catch (const std::exception& e) {
    co_return e.what();
  }
  co_return "none";
}

}  // namespace

ASYNC_TEST("finally completes with the value after the clean-up") {
  journal note;
  eddy::scope outer;
  const int answer = co_await eddy::finally(outer, work(&note, 1s), clean_up(&note, 1s), 5s);
  CHECK(answer == 42);
  CHECK(note == "work clean clean end");
  co_await outer.join();
}

ASYNC_TEST("finally completes with the error of the work after the clean-up") {
  journal note;
  eddy::scope outer;
  const std::string what =
      co_await error_of(eddy::finally(outer, fail("no", 1s), clean_up(&note, 1s), 5s));
  CHECK(what == "no");
  CHECK(note == "clean clean end");
  co_await outer.join();
}

ASYNC_TEST("the scope runs the clean-up of cancelled work") {
  journal note;
  eddy::scope outer;
  auto f = eddy::spawn(eddy::finally(outer, work(&note, 1h), clean_up(&note, 1s), 5s));
  co_await eddy::sleep(1s);
  f = {};
  CHECK(note == "work");
  CHECK(outer.size() == 1);
  co_await outer.join();
  CHECK(note == "work clean clean end");
}

ASYNC_TEST("a clean-up continues after its caller is cancelled") {
  journal note;
  eddy::scope outer;
  auto f = eddy::spawn(eddy::finally(outer, work(&note, 1s), clean_up(&note, 2s), 5s));
  co_await eddy::sleep(2s);
  CHECK(note == "work clean");
  f = {};
  CHECK(note == "work clean");
  co_await outer.join();
  CHECK(note == "work clean clean end");
}

ASYNC_TEST("a clean-up reads the task_local values of its work") {
  struct program {
    static eddy::task<> log_out(const eddy::task_local<int>* name, int* seen) {
      co_await eddy::yield();
      *seen = name->get() == nullptr ? 0 : *name->get();
    }
    static eddy::task<> transfer(eddy::scope* outer, const eddy::task_local<int>* name, int* seen) {
      co_await eddy::finally(*outer, eddy::sleep(1s), log_out(name, seen), 1s);
    }
    static eddy::task<> drop(eddy::future<>* work) {
      *work = {};
      co_return;
    }
  };
  const eddy::task_local<int> name;
  eddy::scope outer;
  int seen = 0;
  auto work = eddy::spawn(name.with(7, program::transfer(&outer, &name, &seen)));
  co_await eddy::yield();
  SUBCASE("after the work completed") { co_await std::move(work); }
  SUBCASE("after the work was cancelled") { work = {}; }
  SUBCASE("after a task with another value cancelled the work") {
    co_await name.with(8, program::drop(&work));
  }
  co_await outer.join();
  CHECK(seen == 7);
}

ASYNC_TEST("work that has not started gets no clean-up") {
  journal note;
  eddy::scope outer;
  {
    const auto unused = eddy::finally(outer, work(&note, 1s), clean_up(&note, 1s), 5s);
  }
  CHECK(note == "");
  CHECK(outer.size() == 0);
  co_return;
}

TEST_CASE_FIXTURE(async_fixture, "a caller that is cancelled as the turn ends gets its clean-up") {
  const auto nothing = []() -> eddy::task<> { co_return; };
  int logins = 0;
  for (int operations = 0; operations < 80; ++operations) {
    INFO("after ", operations, " operations");
    int logged_in = 0;
    const auto log_out = [](int& sessions) -> eddy::task<> {
      --sessions;
      co_return;
    };
    eddy::scope s(loop);
    const auto call = [&](int n) -> eddy::task<> {
      for (int i = 0; i < n; ++i) co_await nothing();
      ++logged_in;
      ++logins;
      co_await eddy::finally(s, eddy::sleep(1h), log_out(logged_in), 1s);
    };
    eddy::future<> caller = eddy::spawn(loop, call(operations));
    // The loop runs this when the caller suspends.
    eddy::future<> canceller = eddy::spawn(loop, [](eddy::future<>& f) -> eddy::task<> {
      f = {};
      co_return;
    }(caller));
    while (loop.run_ready()) {
    }
    CHECK(canceller.ready());
    CHECK(logged_in == 0);
  }
  CHECK(logins > 0);
  CHECK(logins < 80);  // a turn has fewer operations
}

TEST_CASE_FIXTURE(async_fixture, "work that a cancelled caller has started gets its clean-up") {
  struct counts {
    int begun = 0;
    int cleaned = 0;
  };
  struct program {
    static eddy::task<> nothing() { co_return; }
    static eddy::task<> work(counts& all, int operations) {
      ++all.begun;
      for (int i = 0; i < operations; ++i) co_await nothing();
    }
    static eddy::task<> clean_up(counts& all) {
      ++all.cleaned;
      co_return;
    }
    static eddy::task<> call(eddy::scope& s, counts& all, int before, int during) {
      for (int i = 0; i < before; ++i) co_await nothing();
      co_await eddy::finally(s, work(all, during), clean_up(all), 1s);
    }
    static eddy::task<> drop(eddy::future<>& f, int turns) {
      for (int i = 0; i < turns; ++i) co_await eddy::yield();
      f = {};
    }
  };
  int begun = 0;
  for (int before = 0; before < 70; ++before) {
    for (int during = 0; during < 70; during += 7) {
      for (int turns = 0; turns < 3; ++turns) {
        INFO("operations: ", before, " before the work, ", during, " in it; turns: ", turns);
        counts all;
        eddy::scope s(loop);
        eddy::future<> caller = eddy::spawn(loop, program::call(s, all, before, during));
        eddy::future<> canceller = eddy::spawn(loop, program::drop(caller, turns));
        while (loop.run_ready()) {
        }
        CHECK(canceller.ready());
        CHECK(all.cleaned == all.begun);
        begun += all.begun;
      }
    }
  }
  CHECK(begun > 0);
}

TEST_CASE_FIXTURE(async_fixture, "a value whose move cancels the caller does not stop a clean-up") {
  struct canceller {
    canceller(eddy::future<>& f, int moves) noexcept : caller(&f), left(moves) {}
    canceller(canceller&& other) noexcept : caller(other.caller), left(other.left - 1) {
      if (left == 0) *caller = {};
    }
    eddy::future<>* caller;
    int left;
  };
  struct program {
    static eddy::task<canceller> work(eddy::future<>& caller, int moves) {
      co_await eddy::yield();
      co_return canceller(caller, moves);
    }
    static eddy::task<> clean_up(bool& cleaned) {
      cleaned = true;
      co_return;
    }
    static eddy::task<> call(eddy::scope& s, eddy::future<>& caller, int moves, bool& cleaned) {
      co_await eddy::finally(s, work(caller, moves), clean_up(cleaned), 1s);
    }
  };
  for (int moves = 1; moves < 10; ++moves) {
    INFO("cancelled by move ", moves);
    bool cleaned = false;
    eddy::scope s(loop);
    eddy::future<> caller;
    caller = eddy::spawn(loop, program::call(s, caller, moves, cleaned));
    while (loop.run_ready()) {
    }
    CHECK(cleaned);
  }
}

ASYNC_TEST("a clean-up that exceeds its limit is cancelled and fails") {
  journal note;
  eddy::scope outer;
  std::string what;
  SUBCASE("the caller gets the error") {
    what = co_await error_of(eddy::finally(outer, work(&note, 1s), clean_up(&note, 1h), 5s));
    co_await outer.join();
  }
  SUBCASE("the scope gets the error if the caller is cancelled") {
    auto f = eddy::spawn(eddy::finally(outer, work(&note, 1h), clean_up(&note, 1h), 5s));
    co_await eddy::sleep(1s);
    f = {};
    what = co_await error_of(outer.join());
  }
  CHECK(what.contains("5000 ms"));
  CHECK(note == "work clean end");
}

ASYNC_TEST("finally throws the error of the clean-up if the work succeeds") {
  journal note;
  eddy::scope outer;
  const std::string what = co_await error_of(
      eddy::finally(outer, work(&note, 1s), fail_to_clean_up("not clean", 1s), 5s));
  CHECK(what == "not clean");
  co_await outer.join();
}

ASYNC_TEST("the scope gets the error of the clean-up if the caller is cancelled") {
  journal note;
  eddy::scope outer;
  auto f =
      eddy::spawn(eddy::finally(outer, work(&note, 2s), fail_to_clean_up("not clean", 2s), 5s));
  SUBCASE("during the work") { co_await eddy::sleep(1s); }
  SUBCASE("during the clean-up") { co_await eddy::sleep(3s); }
  f = {};
  const std::string what = co_await error_of(outer.join());
  CHECK(what == "not clean");
}

TEST_CASE_FIXTURE(async_fixture,
                  "if both fail, finally throws the work's error and run the clean-up's") {
  struct program {
    static eddy::task<> run(std::string* what) {
      eddy::scope outer;
      *what = co_await error_of(
          eddy::finally(outer, fail("no", 1s), fail_to_clean_up("not clean", 1s), 5s));
    }
  };
  std::string what;
  std::string raised;
  loop.on_exception([&](const std::exception_ptr& error) { raised = words_of(error); });
  auto f = eddy::spawn(loop, program::run(&what));
  loop.run();
  CHECK(what == "no");
  CHECK(raised == "not clean");
}

TEST_CASE_FIXTURE(async_fixture, "run throws the work's error if the caller is cancelled") {
  journal note;
  {
    eddy::scope outer(loop);
    auto f = eddy::spawn(loop, eddy::finally(outer, fail("no", 1s), clean_up(&note, 1h), 2h));
    while (note == "") loop.run_once();
    f = {};
    CHECK_THROWS_WITH_AS(loop.run(), "no", std::runtime_error);
    loop.run();
  }
  CHECK(note == "clean clean end");
}

TEST_CASE_FIXTURE(async_fixture, "a clean-up that cannot start throws std::bad_alloc from run") {
  journal note;
  eddy::scope outer(loop);
  auto f = eddy::spawn(loop, eddy::finally(outer, work(&note, 1h), clean_up(&note, 1h), 2h));
  loop.run_ready();
  {
    using eddy::detail::failing_allocations;
    const failing_allocations no_memory(0, failing_allocations::times::once);
    f = {};
  }
  CHECK(outer.size() == 0);
  CHECK_THROWS_AS(loop.run(), std::bad_alloc);
  CHECK(note == "work");
}

ASYNC_TEST("cancelling the scope cancels the clean-up") {
  journal note;
  auto f = eddy::future<int>();
  {
    eddy::scope outer;
    f = eddy::spawn(eddy::finally(outer, work(&note, 1s), clean_up(&note, 1h), 2h));
    co_await eddy::sleep(2s);
    CHECK(note == "work clean");
  }
  CHECK(note == "work clean end");
  const auto end = co_await eddy::as_result(std::move(f));
  CHECK(end.error() == std::errc::operation_canceled);
}
