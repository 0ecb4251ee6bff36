// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/as_result.h>.
#include <eddy/future/as_result.h>

#include <coroutine>
#include <csignal>
#include <functional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/future/adapt.h>
#include <eddy/future/block_on.h>
#include <eddy/future/promise.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/future/until.h>

#include "support/async_test.h"

using namespace std::chrono_literals;

namespace {

eddy::task<int> works(eddy::duration delay) {
  if (delay != 0s) co_await eddy::sleep(delay);
  co_return 7;
}

eddy::task<> resets(eddy::duration delay) {
  if (delay != 0s) co_await eddy::sleep(delay);
  throw std::system_error(std::make_error_code(std::errc::connection_reset));
}

eddy::task<int> throws() {
  throw std::logic_error("a mistake");
  co_return 0;
}

}  // namespace

ASYNC_TEST("as_result gives the value") {
  for (const eddy::duration d : {0s, 1s}) {
    const eddy::result<int> r = co_await eddy::as_result(works(d));
    CHECK(*r == 7);
  }
  const eddy::result<void> slept = co_await eddy::as_result(eddy::sleep(1s));
  CHECK(slept.has_value());
}

ASYNC_TEST("as_result gives a std::system_error as a value, without a throw") {
  for (const eddy::duration d : {0s, 1s}) {
    const eddy::result<void> r = co_await eddy::as_result(resets(d));
    CHECK(r.error() == std::errc::connection_reset);
  }
  auto f = eddy::spawn(resets(1s));
  const eddy::result<void> r = co_await eddy::as_result(std::move(f));
  CHECK(r.error() == std::errc::connection_reset);
}

ASYNC_TEST("as_result of an expired timeout does not describe the work") {
  struct never {
    int* looks;
    std::function<void()> operator()(eddy::completer<>) const {
      return [] {};
    }
    std::string describe() const {
      ++*looks;
      return "never";
    }
  };
  int looks = 0;
  auto wait = eddy::timeout(1s, eddy::adapt(never{&looks}));
  const eddy::result<void> r = co_await eddy::as_result(std::move(wait));
  CHECK(r.error() == std::errc::timed_out);
  CHECK(looks == 0);
}

ASYNC_TEST("as_result rethrows any other exception") {
  std::string what;
  try {
    const eddy::result<int> r = co_await eddy::as_result(throws());
    CHECK(r.has_value());
  } catch (const std::logic_error& e) {
    what = e.what();
  }
  CHECK(what == "a mistake");
}

TEST_CASE_FIXTURE(async_fixture,
                  "work awaited with as_result is dumped and cancelled like any other") {
  struct program {
    static eddy::task<> wait() {
      const eddy::result<int> r = co_await eddy::as_result(works(1h));
      CHECK(r.has_value());
    }
  };
  auto f = eddy::spawn(loop, program::wait());
  loop.run_ready();
  const auto tree = loop.dump();
  CHECK(tree.contains("wait at as_result_test.cc:"));
  CHECK(tree.contains("works at as_result_test.cc:"));
  CHECK(tree.contains("sleep, 3600000 ms left"));
  f = {};
  CHECK(loop.count().timers == 0);
}

ASYNC_TEST("as_result gives an error that await_ready throws") {
  struct tried_at_once {
    static bool await_ready() {
      throw std::system_error(std::make_error_code(std::errc::io_error));
    }
    static void await_suspend(std::coroutine_handle<> /*by*/) {}
    static int await_resume() { return 1; }
  };
  const eddy::result<int> tried = co_await eddy::as_result(tried_at_once());
  CHECK(tried.error() == std::errc::io_error);
}

ASYNC_TEST("as_result gives the error of an operation that can't start") {
  const eddy::result<void> readable = co_await eddy::as_result(eddy::until_readable(999));
  CHECK(readable.error() == std::errc::bad_file_descriptor);
  const eddy::result<void> writable = co_await eddy::as_result(eddy::until_writable(-1));
  CHECK(writable.error() == std::errc::bad_file_descriptor);
  const eddy::result<eddy::exit_status> end = co_await eddy::as_result(eddy::until_exit(1));
  CHECK(end.error() == std::errc::no_child_process);
  const eddy::result<void> signal = co_await eddy::as_result(eddy::until_signal(SIGKILL));
  CHECK(signal.error() == std::errc::invalid_argument);
  const auto refuse = [](eddy::completer<>) -> std::function<void()> {
    throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
  };
  const eddy::result<void> adapted = co_await eddy::as_result(eddy::adapt(refuse));
  CHECK(adapted.error() == std::errc::resource_unavailable_try_again);
  const auto mistake = [](eddy::completer<>) -> std::function<void()> {
    throw std::logic_error("a mistake");
  };
  std::string what;
  try {
    co_await eddy::as_result(eddy::adapt(mistake));
  } catch (const std::logic_error& e) {
    what = e.what();
  }
  CHECK(what == "a mistake");
}

ASYNC_TEST("a hundred thousand operations that can't start grow no stack") {
  int failed = 0;
  for (int i = 0; i < 100'000; ++i) {
    const eddy::result<void> r = co_await eddy::as_result(eddy::until_readable(-1));
    if (!r) ++failed;
  }
  CHECK(failed == 100'000);
}

template <class Awaitable>
concept has_result = requires(Awaitable a) { eddy::as_result(std::move(a)); };
static_assert(has_result<eddy::task<int>>);
static_assert(!has_result<eddy::task<int&>>);
