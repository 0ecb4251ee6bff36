// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/unix_connect.h>.
#include <eddy/net/unix_connect.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <ostream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/sleep.h>
#include <eddy/future/timeout.h>
#include <eddy/net/unix_listener.h>

#include "support/async_test.h"
#include "support/failing_system.h"
#include "support/temporary_directory.h"
#include "support/tidy.h"

using namespace std::chrono_literals;
using eddy::result;
using eddy::task;
using eddy::unix_address;
using eddy::unix_listener;
using eddy::unix_seqpacket;
using eddy::unix_stream;

TEST_CASE_FIXTURE(with_loop, "connect calls its handler with the stream") {
  const temporary_directory d;
  const unix_address at(d / "s");
  unix_listener listener(loop, at);
  bool connected = false;
  const auto connecting = eddy::connect(
      loop, at, [&](result<unix_stream> s) { connected = s.value().peer_address() == at; });
  CHECK(connecting.active());
  loop.run();
  CHECK(connected);
  CHECK(!connecting.active());
}

TEST_CASE_FIXTURE(with_loop, "connect_seqpacket calls its handler with the socket or an error") {
  const temporary_directory d;
  const unix_address at(d / "s");
  std::error_code error;
  auto connecting = eddy::connect_seqpacket(
      loop, at, [&](result<unix_seqpacket> s) { error = s ? std::error_code() : s.error(); });
  loop.run();
  CHECK(error == std::errc::no_such_file_or_directory);
  eddy::unix_seqpacket_listener listener(loop, at);
  connecting = eddy::connect_seqpacket(
      loop, at, [&](result<unix_seqpacket> s) { error = s ? std::error_code() : s.error(); });
  loop.run();
  CHECK(!error);
}

TEST_CASE_FIXTURE(with_loop, "a stopped connect does not call its handler") {
  const temporary_directory d;
  const unix_address at(d / "s");
  unix_listener listener(loop, at);
  bool called = false;
  auto connecting = eddy::connect(loop, at, [&](auto&&) { called = true; });
  connecting.stop();
  loop.run();
  CHECK(!called);
}

ASYNC_TEST("the error of a connect names the address and what is wrong") {
  const temporary_directory d;
  std::string words;
  try {
    co_await eddy::connect(unix_address(d / "none"));
  } catch (const std::system_error& e) {
    words = e.what();
  }
  CHECK(words == "connect to " + (d / "none") + ": No such file or directory");
  const auto unnamed = co_await eddy::as_result(eddy::connect(unix_address()));
  REQUIRE(!unnamed);
  CHECK(unnamed.error() == std::errc::invalid_argument);
  {
    const unix_listener gone(loop, unix_address(d / "s"), {.remove_file = false});
  }
  const auto stale = co_await eddy::as_result(eddy::connect(unix_address(d / "s")));
  REQUIRE(!stale);
  CHECK(stale.error() == std::errc::connection_refused);
}

ASYNC_TEST("a connect waits while the queue of the listener is full, and a timeout ends it") {
  const temporary_directory d;
  const unix_address at(d / "s");
  unix_listener listener(loop, at, {.backlog = 0});
  std::vector<unix_stream> waiting;
  for (;;) {
    auto limited = eddy::timeout(1s, eddy::connect(at));
    auto one = co_await eddy::as_result(std::move(limited));
    if (!one) {
      CHECK(one.error() == std::errc::timed_out);
      break;
    }
    waiting.push_back(std::move(*one));
    REQUIRE(waiting.size() < 10);
  }
  const auto accepting = [&]() -> task<> {
    co_await eddy::sleep(1s);
    const unix_stream first = co_await listener.accept();
    CHECK(first.open());
  };
  auto both = eddy::join(eddy::connect(at), accepting());
  const auto [late, nothing] = co_await std::move(both);
  CHECK(late.open());
}

ASYNC_TEST("a waiting connect makes few system calls") {
  const temporary_directory d;
  const unix_address at(d / "s");
  unix_listener listener(loop, at);
  failing_system system;
  system.fail(call::connect, EAGAIN, 1, true);
  auto limited = eddy::timeout(10s, eddy::connect(at));
  const auto late = co_await eddy::as_result(std::move(limited));
  CHECK(!late);
  CHECK(system.count(call::connect) < 10 * 20 + 10);
  CHECK(system.count(call::connect) > 100);
}

ASYNC_TEST("each call of a connect may fail with each errno, and no descriptor is left") {
  const temporary_directory d;
  const unix_address at(d / "s");
  unix_listener listener(loop, at);
  for (const int error : {EMFILE, ENFILE, ENOBUFS, ENOMEM, EACCES, EAFNOSUPPORT}) {
    failing_system system;
    system.fail(call::socket, error);
    const auto r = co_await eddy::as_result(eddy::connect(at));
    REQUIRE(!r);
    CHECK(r.error().value() == error);
  }
  for (const int error : {EINTR, EAGAIN, EACCES, EPERM, ECONNREFUSED, ENOENT, EPROTOTYPE, ENOMEM}) {
    failing_system system;
    system.fail(call::connect, error);
    const auto r = co_await eddy::as_result(eddy::connect(at));
    const bool retried = error == EINTR || error == EAGAIN;
    CHECK(r.has_value() == retried);
    if (!r) CHECK(r.error().value() == error);
  }
  CHECK(unix_stream::count() == 0);
}
