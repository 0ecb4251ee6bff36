// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/flow/until_event.h>.
#include <eddy/future/flow/until_event.h>

#include <chrono>
#include <string>
#include <system_error>
#include <utility>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>

#include "support/async_test.h"
#include "support/socket_pair.h"

using namespace std::chrono_literals;

ASYNC_TEST("until_hang_up completes behind unread bytes") {
  const socket_pair pair;
  bool told = false;
  auto wait = [&]() -> eddy::task<> {
    co_await eddy::until_hang_up(pair.near());
    told = true;
  };
  eddy::future<> waiting = eddy::spawn(wait());
  pair.send("unread");
  co_await eddy::sleep(1s);
  CHECK_FALSE(told);
  CHECK(loop.dump().find("to hang up") != std::string::npos);
  ::shutdown(pair.far(), SHUT_WR);
  co_await std::move(waiting);
  CHECK(told);
  CHECK(pair.receive() == "unread");
  co_await eddy::until_hang_up(pair.near());  // it still holds
}

ASYNC_TEST("until_priority and until_hang_up refuse what has no events") {
  const int file = ::open("/etc/passwd", O_RDONLY | O_CLOEXEC);
  std::string words;
  try {
    co_await eddy::until_priority(file);
  } catch (const std::system_error& e) {
    words = e.what();
  }
  CHECK(words == "watching descriptor " + std::to_string(file) + ": Operation not permitted");
  ::close(file);
  words.clear();
  try {
    co_await eddy::until_hang_up(-1);
  } catch (const std::system_error& e) {
    words = e.what();
  }
  CHECK(words == "watching descriptor -1: Bad file descriptor");
}

ASYNC_TEST("until_priority completes when a peer hangs up, and can be cancelled") {
  socket_pair pair;
  {
    auto wait = [&]() -> eddy::task<> { co_await eddy::until_priority(pair.near()); };
    const eddy::future<> cancelled = eddy::spawn(wait());
    co_await eddy::sleep(1s);
    CHECK(loop.dump().find("to have priority data") != std::string::npos);
  }
  pair.close_far();
  co_await eddy::until_priority(pair.near());
}
