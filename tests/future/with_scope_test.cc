// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/with_scope.h>.
#include <eddy/future/with_scope.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/future/await_trace.h>
#include <eddy/future/sleep.h>

#include "support/async_test.h"
#include "support/counted.h"
#include "support/delayed.h"
#include "support/journal.h"

using namespace std::chrono_literals;

ASYNC_TEST("with_scope gives the value of its body once all children have completed") {
  journal note;
  auto body = [&note](eddy::scope& s, std::unique_ptr<int> n) -> eddy::task<int> {
    s.spawn(note_after(2s, &note, "child"));
    co_await eddy::sleep(1s);
    note("body");
    co_return *n;
  };
  auto work = eddy::with_scope(std::move(body), std::make_unique<int>(42));
  const int answer = co_await std::move(work);
  CHECK(answer == 42);
  CHECK(note == "body child");
}

ASYNC_TEST("an error of the body or of a child cancels the others and leaves with_scope") {
  int alive = 0;
  const char* expected = "";
  std::string what;
  SUBCASE("of the body") {
    expected = "body";
    auto body = [&](eddy::scope& s) -> eddy::task<> {
      s.spawn(count_until(counted(alive), 1h));
      co_await eddy::sleep(1s);
      throw std::runtime_error("body");
    };
    what = co_await error_of(eddy::with_scope(body));
  }
  SUBCASE("of a child") {
    expected = "child";
    auto body = [&](eddy::scope& s) -> eddy::task<> {
      s.spawn(fail_after(1s, "child"));
      co_await count_until(counted(alive), 1h);
    };
    what = co_await error_of(eddy::with_scope(body));
  }
  SUBCASE("a cancel before the body has completed") {
    expected = "the scope was cancelled before its body";
    auto body = [&](eddy::scope& s) -> eddy::task<> {
      s.cancel();
      co_await count_until(counted(alive), 1h);
    };
    what = co_await error_of(eddy::with_scope(body));
  }
  CHECK(what.contains(expected));
  CHECK(alive == 0);
}

ASYNC_TEST("the await trace of an error leads through with_scope") {
  std::string trace;
  auto body = [](eddy::scope&) -> eddy::task<> { co_await fail_after(1s); };
  try {
    co_await eddy::with_scope(body);
  } catch (const std::runtime_error&) {
    trace = eddy::await_trace_text();
  }
  INFO(trace);
  CHECK(trace.contains("fail_after at delayed.h:"));
  CHECK(std::ranges::count(trace, '\n') == 3);  // fail_after, the body, and this test
}
