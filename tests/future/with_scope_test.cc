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
#include <eddy/future/yield.h>

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

ASYNC_TEST("an error that a cancelled with_scope has not delivered is thrown from run") {
  for (const bool of_body : {true, false}) {
    std::string raised;
    loop.on_exception([&raised](std::exception_ptr error) {
      try {
        std::rethrow_exception(std::move(error));
      } catch (const std::exception& e) {
        raised = e.what();
      }
    });
    auto body = [of_body](eddy::scope& s) -> eddy::task<> {
      if (!of_body) s.spawn(fail_after(1s, "child"));
      co_await eddy::sleep(of_body ? 1s : 1h);
      throw std::runtime_error("body");
    };
    std::string caught;
    const auto catch_all = [&caught](auto function) -> eddy::task<> {
      caught = co_await error_of(eddy::with_scope(function));
    };
    eddy::scope outer;
    outer.spawn(catch_all(body));
    for (int i = 0; i < 4; ++i) co_await eddy::yield();  // the body and the child begin to sleep
    co_await eddy::sleep(1s);                            // and fail, but the waiter waits
    outer.cancel();
    co_await eddy::sleep(1s);
    CHECK(caught.empty());
    CHECK(raised == std::string(of_body ? "body" : "child"));
    loop.on_exception(nullptr);
  }
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
