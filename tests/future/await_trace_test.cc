// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/await_trace.h>.
#include <eddy/future/await_trace.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <source_location>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/block_on.h>
#include <eddy/future/flow/finally.h>
#include <eddy/future/flow/retry.h>
#include <eddy/future/flow/shared.h>
#include <eddy/future/join.h>
#include <eddy/future/promise.h>
#include <eddy/future/scope.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/timeout.h>
#include <eddy/future/with_scope.h>
#include <eddy/future/yield.h>

#include "support/async_test.h"
#include "support/forked.h"

using namespace std::chrono_literals;

namespace {

using lines = std::vector<unsigned>;

lines lines_of(const std::exception_ptr& error = std::current_exception()) {
  lines all;
  for (const std::source_location& where : eddy::await_trace(error)) all.push_back(where.line());
  return all;
}

/// The lines of the await trace of the error that `work` throws.
lines trace_out_of(eddy::task<> work) {
  try {
    eddy::block_on(std::move(work));
  } catch (const std::runtime_error&) {
    return lines_of();
  }
  return {};
}

unsigned next_line(std::source_location here = std::source_location::current()) {
  return here.line() + 1;
}

unsigned at_yield = 0;
unsigned at_fail = 0;
unsigned at_middle = 0;

eddy::task<int> fail_after_yield() {
  at_yield = next_line();
  co_await eddy::yield();
  throw std::runtime_error("no luck");
}

eddy::task<int> fail_at_once() {
  throw std::runtime_error("no luck");
  co_return 0;
}

eddy::task<int> middle(eddy::task<int> below) {
  at_fail = next_line();
  const int n = co_await std::move(below);
  co_return n;
}

eddy::task<int> outer(eddy::task<int> below) {
  at_middle = next_line();
  const int n = co_await middle(std::move(below));
  co_return n;
}

/// The program's terminate handler, set before eddy sets its own.
const std::terminate_handler handler_before = std::set_terminate([] {
  std::fputs("the program's own words\n", stderr);
  handler_before();
});

}  // namespace

ASYNC_TEST("an await trace lists each co_await the error passed, the innermost first") {
  lines trace;
  unsigned here = 0;
  try {
    here = next_line();
    co_await outer(fail_after_yield());
  } catch (const std::runtime_error&) {
    trace = lines_of();
    const std::string text = eddy::await_trace_text();
    INFO(text);
    CHECK(text.contains("fail_after_yield at await_trace_test.cc:"));
    CHECK(std::ranges::count(text, '\n') == 4);
  }
  CHECK(trace == lines{at_yield, at_fail, at_middle, here});
  static_cast<void>(loop);
}

ASYNC_TEST("a coroutine that fails before its first co_await adds no line of its own") {
  lines trace;
  unsigned here = 0;
  try {
    here = next_line();
    co_await outer(fail_at_once());
  } catch (const std::runtime_error&) {
    trace = lines_of();
  }
  CHECK(trace == lines{at_fail, at_middle, here});
  static_cast<void>(loop);
}

ASYNC_TEST("an error keeps its await trace through join, timeout and spawned tasks") {
  lines trace;
  unsigned here = 0;
  SUBCASE("join") {
    try {
      here = next_line();
      co_await eddy::join(outer(fail_after_yield()), eddy::sleep(1h));
    } catch (const std::runtime_error&) {
      trace = lines_of();
    }
  }
  SUBCASE("timeout") {
    try {
      here = next_line();
      co_await eddy::timeout(1h, outer(fail_after_yield()));
    } catch (const std::runtime_error&) {
      trace = lines_of();
    }
  }
  SUBCASE("a spawned task that is awaited") {
    auto work = eddy::spawn(outer(fail_after_yield()));
    try {
      here = next_line();
      co_await std::move(work);
    } catch (const std::runtime_error&) {
      trace = lines_of();
    }
  }
  CHECK(trace == lines{at_yield, at_fail, at_middle, here});
  static_cast<void>(loop);
}

ASYNC_TEST("an error stored in a future keeps its await trace") {
  auto work = eddy::spawn(outer(fail_after_yield()));
  co_await eddy::sleep(1s);
  CHECK(work.ready());
  lines trace;
  unsigned here = 0;
  auto chain = std::move(work).then([](int n) { return n; });
  try {
    here = next_line();
    co_await std::move(chain);
  } catch (const std::runtime_error&) {
    trace = lines_of();
  }
  CHECK(trace == lines{at_yield, at_fail, at_middle, here});
  lines after;
  try {
    co_await fail_at_once();
  } catch (const std::runtime_error&) {
    after = lines_of();
  }
  CHECK(after.size() == 1);
  static_cast<void>(loop);
}

ASYNC_TEST("an error kept while finally awaits its clean-up keeps its await trace") {
  lines trace;
  unsigned here = 0;
  eddy::scope s;
  try {
    here = next_line();
    co_await eddy::finally(s, outer(fail_after_yield()), eddy::sleep(1s), 1h);
  } catch (const std::runtime_error&) {
    trace = lines_of();
  }
  CHECK(trace == lines{at_yield, at_fail, at_middle, here});
  static_cast<void>(loop);
}

ASYNC_TEST("the await trace of a failed retry is that of the last attempt") {
  struct program {
    static eddy::task<> refuse() {
      at_yield = next_line();
      co_await eddy::yield();
      throw std::system_error(std::make_error_code(std::errc::connection_refused));
    }
  };
  lines trace;
  unsigned here = 0;
  const eddy::retry_policy thrice{.attempts = 3};
  try {
    here = next_line();
    co_await eddy::retry(thrice, &program::refuse);
  } catch (const eddy::retries_failed& e) {
    CHECK(e.errors().size() == 3);
    trace = lines_of();
  }
  CHECK(trace == lines{at_yield, here});
  static_cast<void>(loop);
}

ASYNC_TEST("each waiter of a shared gets the error with a full await trace") {
  const eddy::shared<int> work(outer(fail_after_yield()));
  for (int i = 0; i < 2; ++i) {
    lines trace;
    unsigned here = 0;
    try {
      here = next_line();
      co_await work;
    } catch (const std::runtime_error&) {
      trace = lines_of();
    }
    CHECK(trace == lines{at_yield, at_fail, at_middle, here});
  }
  static_cast<void>(loop);
}

ASYNC_TEST("an error that replaces a caught one has no line twice") {
  struct program {
    static eddy::task<> translate() {
      try {
        co_await fail_after_yield();
      } catch (const std::runtime_error&) {
        throw std::logic_error("translated");
      }
    }
  };
  lines trace;
  unsigned here = 0;
  try {
    here = next_line();
    co_await program::translate();
  } catch (const std::logic_error&) {
    trace = lines_of();
  }
  CHECK(trace.back() == here);
  CHECK(trace.size() == 2);
  static_cast<void>(loop);
}

ASYNC_TEST("a new error has no lines of an earlier one") {
  for (int i = 0; i < 20; ++i) {
    lines trace;
    try {
      co_await outer(fail_after_yield());
    } catch (const std::runtime_error&) {
      trace = lines_of();
    }
    CHECK(trace.size() == 4);
    try {
      co_await fail_at_once();
    } catch (const std::runtime_error&) {
      trace = lines_of();
    }
    CHECK(trace.size() == 1);
  }
  static_cast<void>(loop);
}

namespace {

template <class T>
struct box;
template <>
struct box<std::pair<int, long>> {
  static eddy::task<std::pair<int, long>> fail() {
    co_await eddy::yield();
    throw std::runtime_error("no luck");
  }
};

}  // namespace

ASYNC_TEST("an await trace names the function with its class's arguments, without its type") {
  std::string text;
  try {
    co_await box<std::pair<int, long>>::fail();
  } catch (const std::runtime_error&) {
    text = eddy::await_trace_text();
  }
  INFO(text);
  CHECK(text.contains("box<std::pair<int, long"));
  CHECK(text.contains("::fail at await_trace_test.cc:"));
  CHECK_FALSE(text.contains("task"));
  static_cast<void>(loop);
}

TEST_CASE_FIXTURE(async_fixture, "an error that leaves block_on keeps its await trace") {
  lines trace;
  try {
    eddy::block_on(loop, outer(fail_after_yield()));
  } catch (const std::runtime_error&) {
    trace = lines_of();
  }
  CHECK(trace == lines{at_yield, at_fail, at_middle});
}

TEST_CASE_FIXTURE(async_fixture,
                  "an error that nobody took reaches on_exception with its await trace") {
  lines trace;
  loop.on_exception([&](const std::exception_ptr& error) { trace = lines_of(error); });
  {
    auto work = eddy::spawn(loop, outer(fail_after_yield()));
    loop.run();
  }
  loop.run();
  CHECK(trace == lines{at_yield, at_fail, at_middle});
}

TEST_CASE_FIXTURE(tidy, "an error that has left no coroutine has an empty await trace") {
  CHECK(eddy::await_trace(nullptr).empty());
  CHECK(eddy::await_trace(std::make_exception_ptr(1)).empty());
  CHECK(eddy::await_trace_text() == "");
}

TEST_CASE("an await trace holds at most 32 lines, the innermost") {
  struct program {
    static eddy::task<> fall(int depth) {
      if (depth == 0) throw std::runtime_error("no luck");
      co_await fall(depth - 1);
    }
  };
  CHECK(trace_out_of(program::fall(1000)).size() == 32);
}

TEST_CASE("eddy's own coroutines do not count among the 32 lines") {
  struct program {
    static eddy::task<> fall(int depth) {
      if (depth == 0) throw std::runtime_error("no luck");
      const auto body = [](eddy::scope&, int d) { return fall(d); };
      co_await eddy::with_scope(body, depth - 1);
    }
  };
  CHECK(trace_out_of(program::fall(25)).size() == 25);
}

ASYNC_TEST("an error given to a promise has no lines of an earlier error at its address") {
  const auto ask = []() -> eddy::task<> {
    eddy::promise<> p;
    auto f = p.get_future();
    p.set_error(std::make_error_code(std::errc::connection_reset));
    co_await std::move(f);
  };
  for (int i = 0; i < 10; ++i) {
    lines trace;
    try {
      co_await ask();
    } catch (const std::system_error&) {
      trace = lines_of();
    }
    CHECK(trace.size() == 2);
    co_await eddy::yield();
  }
  static_cast<void>(loop);
}

ASYNC_TEST("an error that a coroutine catches and gives to a promise keeps its await trace") {
  eddy::promise<> p;
  auto f = p.get_future();
  try {
    co_await fail_at_once();
  } catch (...) {
    p.set_error(std::current_exception());
  }
  lines trace;
  try {
    co_await std::move(f);
  } catch (const std::runtime_error&) {
    trace = lines_of();
  }
  CHECK(trace.size() == 2);
  static_cast<void>(loop);
}

TEST_CASE("a program that an uncaught error ends prints the await trace") {
  const auto ends = [] { std::thread([] { eddy::block_on(outer(fail_after_yield())); }).join(); };
  dies_saying("eddy: await trace of an error that nobody caught:\n  ", ends);
  dies_saying("fail_after_yield at await_trace_test.cc:", ends);
  dies_saying("the program's own words", ends);
}

TEST_CASE("a forked child can trace errors though another thread was tracing one at the fork") {
  std::atomic<bool> over = false;
  const auto fail = [] {
    try {
      eddy::block_on(fail_at_once());
    } catch (const std::runtime_error&) {
      return true;
    }
    return false;
  };
  std::thread other([&] {
    while (!over) fail();
  });
  int good = 0;
  for (int i = 0; i < 100; ++i) good += holds_in_child(fail);
  over = true;
  other.join();
  CHECK(good == 100);
}
