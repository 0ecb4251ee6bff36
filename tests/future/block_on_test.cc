// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/block_on.h>.
#include <eddy/future/block_on.h>

#include <chrono>
#include <memory>
#include <source_location>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/future/join.h>
#include <eddy/future/promise.h>
#include <eddy/future/scope.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/yield.h>
#include <eddy/loop/several_errors.h>

#include "support/async_test.h"
#include "support/counted.h"
#include "support/forked.h"
#include "support/journal.h"

using namespace std::chrono_literals;

namespace {

eddy::task<int> after(eddy::duration delay, int n) {
  co_await eddy::sleep(delay);
  co_return n;
}

std::string at(unsigned line) { return " at block_on_test.cc:" + std::to_string(line) + ": "; }

unsigned line_of_await = 0;
unsigned line_of_child = 0;

eddy::task<> wait_for_ever(eddy::future<> f) {
  line_of_await = std::source_location::current().line() + 1;
  co_await std::move(f);
}

eddy::task<> parent(eddy::future<> f) {
  line_of_child = std::source_location::current().line() + 1;
  co_await wait_for_ever(std::move(f));
}

}  // namespace

TEST_CASE_FIXTURE(async_fixture,
                  "block_on runs the loop until the work completes, and returns its value") {
  CHECK(eddy::block_on(loop, after(1h, 7)) == 7);

  int n = 0;
  auto same = [](int* p) -> eddy::task<int&> { co_return *p; };
  CHECK(&eddy::block_on(loop, same(&n)) == &n);

  auto boxed = []() -> eddy::task<std::unique_ptr<int>> { co_return std::make_unique<int>(3); };
  CHECK(*eddy::block_on(loop, boxed()) == 3);

  eddy::block_on(loop, eddy::spawn(loop, after(1s, 1)).then([](int) {}));
}

TEST_CASE_FIXTURE(tidy, "block_on without a loop makes a loop") {
  CHECK(eddy::block_on(after(0ms, 7)) == 7);
}

TEST_CASE_FIXTURE(tidy, "block_on without a loop throws errors that nobody took") {
  struct program {
    static eddy::task<> fail() {
      throw std::runtime_error("nobody's");
      co_return;
    }
    static eddy::task<> leaves_a_scope() {
      eddy::scope s;
      s.spawn(fail());
      co_await eddy::yield();
      co_await eddy::yield();
    }
    static eddy::task<int> leaves_a_future() {
      const auto f = eddy::spawn(fail());
      co_await eddy::yield();
      co_await eddy::yield();
      co_return 1;
    }
    static eddy::task<> fails_too() {
      co_await leaves_a_future();
      throw std::logic_error("its own");
    }
  };
  CHECK_THROWS_WITH_AS(eddy::block_on(program::leaves_a_scope()), "nobody's", std::runtime_error);
  CHECK_THROWS_WITH_AS(eddy::block_on(program::leaves_a_future()), "nobody's", std::runtime_error);
  CHECK_THROWS_WITH_AS(eddy::block_on(program::fails_too()), "several errors: its own; nobody's",
                       eddy::several_errors);
}

TEST_CASE_FIXTURE(async_fixture, "other tasks run during block_on and stay on the loop after it") {
  journal note;
  struct program {
    static eddy::task<> tick(journal* to) {
      for (;;) {
        co_await eddy::sleep(2s);
        (*to)("tick");
      }
    }
  };
  auto other = eddy::spawn(loop, program::tick(&note));
  eddy::block_on(loop, after(5s, 1));
  CHECK(note == "tick tick");
  eddy::block_on(loop, after(2s, 1));
  CHECK(note == "tick tick tick");
}

TEST_CASE_FIXTURE(async_fixture, "block_on throws the error of its work") {
  auto fails = []() -> eddy::task<> {
    co_await eddy::sleep(1s);
    throw std::runtime_error("no luck");
  };
  CHECK_THROWS_WITH_AS(eddy::block_on(loop, fails()), "no luck", std::runtime_error);
}

TEST_CASE_FIXTURE(async_fixture,
                  "a deadlock error holds the tree of suspended tasks with their locations") {
  int alive = 0;
  const unsigned line_of_promise = std::source_location::current().line() + 1;
  eddy::promise<> never(loop);
  eddy::promise<> nor(loop);
  auto other = eddy::spawn(loop, wait_for_ever(nor.get_future()));
  auto hold = [](counted, eddy::future<> f) -> eddy::task<> { co_await parent(std::move(f)); };

  std::string what;
  try {
    eddy::block_on(loop, hold(counted(alive), never.get_future()));
  } catch (const eddy::deadlock& e) {
    what = e.what();
    CHECK(alive == 0);
  }
  INFO(what);
  CHECK(what.contains("nothing on the loop can complete what block_on waits for:\n"));
  CHECK(what.contains("2 tasks:\n"));
  CHECK(what.contains("parent" + at(line_of_child) + "a task\n"));
  CHECK(what.contains("wait_for_ever" + at(line_of_await) +
                      "a promise that nobody has set, made by "));
  CHECK(what.contains(" at block_on_test.cc:" + std::to_string(line_of_promise) + "\n"));
  CHECK_FALSE(never.wanted());
  CHECK(nor.wanted());
}

TEST_CASE_FIXTURE(async_fixture, "stopping the loop ends block_on and cancels its work") {
  int alive = 0;
  auto hold = [](counted) -> eddy::task<> { co_await eddy::sleep(1h); };
  loop.defer([this] { loop.stop(); });
  std::error_code error;
  try {
    eddy::block_on(loop, hold(counted(alive)));
  } catch (const std::system_error& e) {
    error = e.code();
  }
  CHECK(error == std::errc::operation_canceled);
  CHECK(alive == 0);
  CHECK_FALSE(loop.run_ready());
}

TEST_CASE_FIXTURE(async_fixture,
                  "an exception from a handler leaves block_on, and the work is cancelled") {
  int alive = 0;
  auto hold = [](counted) -> eddy::task<> { co_await eddy::sleep(1h); };
  loop.defer([] { throw std::logic_error("from a handler"); });
  CHECK_THROWS_WITH_AS(eddy::block_on(loop, hold(counted(alive))), "from a handler",
                       std::logic_error);
  CHECK(alive == 0);
}

TEST_CASE_FIXTURE(async_fixture, "a handler deferred as the work completes stays on the loop") {
  journal note;
  auto work = [](eddy::event_loop* on, journal* to) -> eddy::task<> {
    on->defer([to] { (*to)("later"); });
    co_return;
  };
  eddy::block_on(loop, work(&loop, &note));
  CHECK(note == "");
  loop.run();
  CHECK(note == "later");
}

TEST_CASE_FIXTURE(async_fixture, "a task may run another loop with block_on") {
  journal note;
  struct program {
    static eddy::task<int> inner(journal* to) {
      (*to)("inner");
      co_await eddy::yield();
      co_return 5;
    }
    static eddy::task<> outer(eddy::event_loop* on, journal* to, eddy::promise<int>* p) {
      eddy::event_loop nested;
      const int n = eddy::block_on(nested, inner(to));
      (*to)(n);
      p->set_value(n);
      CHECK(eddy::event_loop::current() == on);
      co_await eddy::yield();
      (*to)("outer");
    }
    static eddy::task<> reader(eddy::future<int> f, journal* to) {
      const int n = co_await std::move(f);
      (*to)(n + 1);
    }
  };
  eddy::promise<int> p(loop);
  auto reads = eddy::spawn(loop, program::reader(p.get_future(), &note));
  eddy::block_on(loop, program::outer(&loop, &note, &p));
  CHECK(note == "inner 5 6 outer");
}

TEST_CASE_FIXTURE(async_fixture, "a loop that runs within a task may destroy the task") {
  journal note;
  struct program {
    static eddy::task<> kill(eddy::future<>* victim) {
      *victim = {};
      co_return;
    }
    static eddy::task<> victim(eddy::future<>* self, journal* to) {
      eddy::event_loop nested;
      eddy::block_on(nested, kill(self));
      (*to)("still here");
      co_await eddy::yield();
      (*to)("never");
    }
  };
  eddy::future<> victim;
  victim = eddy::spawn(loop, program::victim(&victim, &note));
  loop.run();
  CHECK(note == "still here");
}

TEST_CASE("block_on or run on a loop that runs already aborts") {
  dies_saying("block_on was called inside a handler or a coroutine", [] {
    eddy::event_loop loop;
    loop.defer([] { eddy::block_on(eddy::yield()); });
    loop.run();
  });
  dies_saying("a loop was run from one of its own handlers", [] {
    eddy::event_loop loop;
    loop.defer([&] { eddy::block_on(loop, eddy::yield()); });
    loop.run();
  });
}

TEST_CASE_FIXTURE(tidy, "block_on also throws the errors that nobody took, however it ends") {
  struct program {
    static eddy::task<> fails() {
      co_await eddy::yield();
      throw std::runtime_error("disk full");
    }
    static eddy::task<> stops(bool holds) {
      eddy::future<> failed = eddy::spawn(fails());
      co_await eddy::yield();
      co_await eddy::yield();
      if (!holds) failed = {};
      eddy::event_loop::current()->stop();
      co_await eddy::yield();
    }
    static eddy::task<> hangs() {
      const eddy::future<> failed = eddy::spawn(fails());
      eddy::promise<> never;
      eddy::future<> end = never.get_future();
      co_await std::move(end);
    }
    static eddy::task<> is_interrupted() {
      const eddy::future<> failed = eddy::spawn(fails());
      eddy::event_loop::current()->defer(
          [] { eddy::event_loop::current()->defer([] { throw std::logic_error("too bad"); }); });
      co_await eddy::sleep(1h);
    }
  };
  const auto words_of = [](auto work) -> std::string {
    try {
      eddy::block_on(std::move(work));
    } catch (const std::exception& e) {
      return e.what();
    }
    return "";
  };
  for (const bool holds : {false, true}) {
    const std::string words = words_of(program::stops(holds));
    CHECK(words.contains("disk full"));
    CHECK(words.contains("the loop was stopped"));
  }
  const std::string hung = words_of(program::hangs());
  CHECK(hung.contains("disk full"));
  CHECK(hung.contains("nothing on the loop can complete what block_on waits for"));
  const std::string interrupted = words_of(program::is_interrupted());
  CHECK(interrupted.contains("disk full"));
  CHECK(interrupted.contains("too bad"));
}
