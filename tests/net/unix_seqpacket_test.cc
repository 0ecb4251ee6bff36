// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/unix_seqpacket.h>.
#include <eddy/net/unix_seqpacket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <ostream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <eddy/future/as_result.h>

#include "support/async_test.h"
#include "support/failing_system.h"
#include "support/tidy.h"

using eddy::received_message;
using eddy::unix_seqpacket;
using namespace std::string_view_literals;

static_assert(sizeof(unix_seqpacket) == sizeof(void*));

ASYNC_TEST("a receive of 0 bytes is the end, behind all messages that were sent") {
  auto [near, far] = eddy::seqpacket_pair(loop);
  co_await near.send("last"sv);
  near.shutdown();
  const auto late = co_await eddy::as_result(near.send("late"sv));
  REQUIRE(!late);
  CHECK(late.error() == std::errc::broken_pipe);
  std::array<char, 16> buffer;
  received_message got = co_await far.receive(buffer);
  CHECK(got.size == 4);
  got = co_await far.receive(buffer);
  CHECK(got.size == 0);
  co_await far.send("back"sv);
  got = co_await near.receive(buffer);
  CHECK(got.size == 4);
}

ASYNC_TEST("the error of a send names the peer") {
  auto [near, far] = eddy::seqpacket_pair(loop);
  far.close();
  std::string words;
  try {
    co_await near.send("word"sv);
  } catch (const std::system_error& e) {
    words = e.what();
  }
  CHECK(words == "send to unix peer, pid " + std::to_string(::getpid()) + ": Broken pipe");
}

TEST_CASE_FIXTURE(with_loop, "a seqpacket socket knows its peer") {
  auto [near, far] = eddy::seqpacket_pair(loop);
  CHECK(near.peer_credentials().pid == ::getpid());
  CHECK(near.peer_address().is_unnamed());
  CHECK(near.local_address().is_unnamed());
  try {
    CHECK(near.peer_pidfd());
  } catch (const std::system_error& e) {
    CHECK(e.code() == std::errc::no_protocol_option);
  }
}

TEST_CASE_FIXTURE(with_loop, "a released socket is taken over with its messages") {
  auto [near, far] = eddy::seqpacket_pair(loop);
  CHECK(near.try_send("word")->has_value());
  unix_seqpacket again(loop, far.release());
  CHECK(!far.open());
  std::array<char, 16> buffer;
  CHECK(again.try_receive(buffer)->value().size == 4);
}

TEST_CASE_FIXTURE(with_loop, "a descriptor that is no connected seqpacket socket is refused") {
  CHECK_THROWS_AS(unix_seqpacket(loop, ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)),
                  std::system_error);
  CHECK_THROWS_AS(unix_seqpacket(loop, ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)),
                  std::system_error);
  CHECK_THROWS_AS(unix_seqpacket(loop, -1), std::system_error);
}

TEST_CASE_FIXTURE(with_loop, "an assignment closes the previous socket") {
  auto first = eddy::seqpacket_pair(loop);
  auto second = eddy::seqpacket_pair(loop);
  first.first = std::move(second.first);
  std::array<char, 16> buffer;
  CHECK(first.second.try_receive(buffer)->value().size == 0);
  CHECK(first.first.try_send("word")->has_value());
  CHECK(second.second.try_receive(buffer)->value().size == 4);
}
