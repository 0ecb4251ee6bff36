// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/unix_datagram.h>.
#include <eddy/net/unix_datagram.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <ostream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/sleep.h>
#include <eddy/future/timeout.h>
#include <eddy/net/unix_stream.h>

#include "support/async_test.h"
#include "support/failing_system.h"
#include "support/temporary_directory.h"
#include "support/tidy.h"

using namespace std::chrono_literals;
using namespace std::string_view_literals;
using eddy::received_message;
using eddy::result;
using eddy::task;
using eddy::unique_descriptor;
using eddy::unix_address;
using eddy::unix_datagram;

namespace {

bool exists(const std::string& path) {
  struct stat file{};
  return ::lstat(path.c_str(), &file) == 0;
}

unsigned mode_of(const std::string& path) {
  struct stat file{};
  REQUIRE(::lstat(path.c_str(), &file) == 0);
  return file.st_mode & 07777;
}

/// Sends until the queue of the receiver is full. Returns the number of messages.
int fill(unix_datagram& from, const unix_address& to) {
  for (int sent = 0;; ++sent) {
    if (!from.try_send_to("x", to)) return sent;
  }
}

}  // namespace

ASYNC_TEST("a message tells the address of its sender, to which an answer goes") {
  const temporary_directory d;
  unix_datagram server(loop, unix_address(d / "server"));
  unix_datagram client(loop, unix_address(d / "client"));
  co_await client.send_to("question"sv, server.local_address());
  std::array<char, 64> buffer;
  received_message got = co_await server.receive(buffer);
  CHECK(got.size == 8);
  CHECK(got.from == client.local_address());
  co_await server.send_to("answer"sv, got.from);
  got = co_await client.receive(buffer);
  CHECK(got.size == 6);
  CHECK(got.from == server.local_address());
}

ASYNC_TEST("a sender that is not bound has no address, and an empty message arrives") {
  unix_datagram server(loop, unix_address());
  CHECK(server.local_address().is_abstract());
  unix_datagram client(loop);
  CHECK(client.local_address().is_unnamed());
  co_await client.send_to(""sv, server.local_address());
  std::array<char, 64> buffer;
  const received_message got = co_await server.receive(buffer);
  CHECK(got.full_size == 0);
  CHECK(got.from.is_unnamed());
  CHECK(!server.try_receive(buffer));
}

ASYNC_TEST("a connected socket sends to its peer and receives from nobody else") {
  unix_datagram server(loop, unix_address());
  unix_datagram client(loop, unix_address());
  unix_datagram other(loop);
  client.connect(server.local_address());
  CHECK(client.peer_address() == server.local_address());
  co_await client.send("word"sv);
  std::array<char, 64> buffer;
  const received_message got = co_await server.receive(buffer);
  CHECK(got.size == 4);
  CHECK(other.try_send_to("x", client.local_address())->error() ==
        std::errc::operation_not_permitted);
  client.connect(unix_address());
  CHECK(client.try_send("word")->error() == std::errc::not_connected);
  CHECK(other.try_send_to("x", client.local_address())->has_value());
  CHECK_THROWS_WITH_AS(client.connect(unix_address::abstract("eddy-nobody")),
                       "connect to @eddy-nobody: Connection refused", std::system_error);
}

ASYNC_TEST("send_to waits while the queue of the receiver is full, and sends then") {
  unix_datagram server(loop, unix_address());
  unix_datagram client(loop);
  const unix_address to = server.local_address();
  const int queued = fill(client, to);
  CHECK(queued > 0);
  const auto empty = [&]() -> task<> {
    co_await eddy::sleep(1s);
    std::array<char, 64> buffer;
    for (int i = 0; i < queued + 1; ++i) {
      const received_message got = co_await server.receive(buffer);
      CHECK(got.size == (i < queued ? 1 : 4));
    }
  };
  const auto sending = [&]() -> task<> { co_await client.send_to("late"sv, to); };
  auto both = eddy::join(sending(), empty());
  co_await std::move(both);
}

ASYNC_TEST("a send_to that waits makes few system calls, and a timeout ends it") {
  unix_datagram server(loop, unix_address());
  unix_datagram client(loop);
  const unix_address to = server.local_address();
  const int queued = fill(client, to);
  failing_system system;
  auto limited = eddy::timeout(10s, client.send_to("late"sv, to));
  const auto late = co_await eddy::as_result(std::move(limited));
  CHECK(!late);
  CHECK(system.count(call::send_message) > 100);
  CHECK(system.count(call::send_message) < 10 * 20 + 10);
  std::array<char, 64> buffer;
  int got = 0;
  while (server.try_receive(buffer)) ++got;
  CHECK(got == queued);
  co_await client.send_to("word"sv, to);
}

TEST_CASE_FIXTURE(with_jumping_loop, "a send_to with a handler waits, and is stopped or closed") {
  unix_datagram server(loop, unix_address());
  unix_datagram client(loop);
  const unix_address to = server.local_address();
  const int queued = fill(client, to);
  int sent = 0;
  client.send_to("late"sv, to, [&](result<void> r) { sent += r ? 1 : 0; });
  for (int i = 0; i < 20; ++i) loop.run_once();
  CHECK(sent == 0);
  std::array<char, 64> buffer;
  for (int i = 0; i < queued; ++i) CHECK(server.try_receive(buffer)->value().size == 1);
  loop.run();
  CHECK(sent == 1);
  CHECK(server.try_receive(buffer)->value().size == 4);
  const int again = fill(client, to);
  CHECK(again == queued);
  client.send_to("stopped"sv, to, [&](auto&&) { ++sent; });
  for (int i = 0; i < 5; ++i) loop.run_once();
  client.stop_sending();
  loop.run();
  client.send_to("closed"sv, to, [&](auto&&) { ++sent; });
  for (int i = 0; i < 5; ++i) loop.run_once();
  client.close();
  loop.run();
  CHECK(sent == 1);
}

TEST_CASE_FIXTURE(with_loop, "send_to carries descriptors") {
  unix_datagram server(loop, unix_address());
  unix_datagram client(loop);
  const unique_descriptor file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const std::array one{file.number()};
  CHECK(client.try_send_descriptors_to("word", one, server.local_address())->has_value());
  std::array<char, 64> buffer;
  std::array<unique_descriptor, 1> slots;
  CHECK(server.try_receive_descriptors(buffer, slots)->value().descriptors == 1);
  client.send_descriptors_to("word"sv, one, server.local_address(), [](result<void>) {});
  loop.run();
  CHECK(server.try_receive_descriptors(buffer, slots)->value().descriptors == 1);
}

ASYNC_TEST("the errors of send_to are those of the address") {
  unix_datagram client(loop, unix_address());
  const auto refused =
      co_await eddy::as_result(client.send_to("x"sv, unix_address::abstract("eddy-nobody")));
  REQUIRE(!refused);
  CHECK(refused.error() == std::errc::connection_refused);
  std::string words;
  try {
    co_await client.send_to("x"sv, unix_address("/nowhere/x"));
  } catch (const std::system_error& e) {
    words = e.what();
  }
  CHECK(words == "send a message from " + client.local_address().to_string() +
                     ": No such file or directory");
}

TEST_CASE_FIXTURE(with_loop, "the socket file has its permissions and is removed at the end") {
  const temporary_directory d;
  const std::string path = d / "s";
  unix_datagram first(loop, unix_address(path), {.permissions = 0620U});
  CHECK(mode_of(path) == 0620);
  unix_datagram second = std::move(first);
  CHECK(exists(path));
  second = unix_datagram(loop, unix_address(d / "t"));
  CHECK(!exists(path));
  CHECK(exists(d / "t"));
  second.close();
  CHECK(!exists(d / "t"));
  {
    const unix_datagram kept(loop, unix_address(path), {.remove_file = false});
  }
  CHECK(exists(path));
  CHECK_THROWS_AS(unix_datagram(loop, unix_address(path)), std::system_error);
  const unix_datagram replacing(loop, unix_address(path), {.replace_stale = true});
  CHECK_THROWS_AS(unix_datagram(loop, unix_address(path), {.replace_stale = true}),
                  std::system_error);
}

TEST_CASE_FIXTURE(with_loop, "a released socket leaves its file and receives on") {
  const temporary_directory d;
  const unix_address at(d / "s");
  unix_datagram first(loop, at);
  unix_datagram again(loop, first.release());
  CHECK(!first.open());
  CHECK(exists(d / "s"));
  unix_datagram client(loop);
  CHECK(client.try_send_to("word", at)->has_value());
  std::array<char, 64> buffer;
  CHECK(again.try_receive(buffer)->value().size == 4);
}

TEST_CASE_FIXTURE(with_loop, "a connect that a signal interrupts is repeated") {
  unix_datagram server(loop, unix_address());
  unix_datagram client(loop);
  failing_system system;
  system.fail_times(call::connect, EINTR, 1, 3);
  client.connect(server.local_address());
  CHECK(system.count(call::connect) == 4);
  CHECK(client.try_send("word"sv)->has_value());
}

TEST_CASE_FIXTURE(with_loop, "a datagram socket does not count as an open stream") {
  const unix_datagram one(loop);
  CHECK(eddy::unix_stream::count() == 0);
}

TEST_CASE_FIXTURE(with_loop, "a descriptor that is no Unix datagram socket is refused") {
  CHECK_THROWS_AS(unix_datagram(loop, ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)),
                  std::system_error);
  CHECK_THROWS_AS(unix_datagram(loop, ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)),
                  std::system_error);
}

TEST_CASE_FIXTURE(with_loop, "each call that binds may fail, and no file is left") {
  const temporary_directory d;
  const std::string path = d / "s";
  for (std::size_t k = 1;; ++k) {
    INFO(k);
    failing_system system;
    system.fail_any(EACCES, k);
    bool made = false;
    try {
      const unix_datagram socket(loop, unix_address(path), {.permissions = 0666U});
      made = true;
    } catch (const std::system_error& e) {
      CHECK(std::string(e.what()).starts_with("bind a datagram socket to " + path));
    }
    if (made && exists(path)) ::unlink(path.c_str());  // its removal failed
    CHECK(!exists(path));
    if (!system.has_failed()) break;
  }
}

ASYNC_TEST("each call of send_to may fail with each errno, and no message is lost or doubled") {
  unix_datagram server(loop, unix_address());
  unix_datagram client(loop);
  const unix_address to = server.local_address();
  for (const int error : {EINTR, EAGAIN, ENOBUFS, ENOMEM, EMSGSIZE, ECONNREFUSED, ENOENT, EACCES,
                          EPERM, EPROTOTYPE, ETOOMANYREFS}) {
    INFO(error);
    const bool retried = error == EINTR || error == EAGAIN;
    failing_system system;
    system.fail(call::send_message, error);
    const auto sent = co_await eddy::as_result(client.send_to("word"sv, to));
    CHECK(sent.has_value() == retried);
    std::array<char, 64> buffer;
    CHECK(server.try_receive(buffer).has_value() == retried);
    CHECK(!server.try_receive(buffer));
  }
}
