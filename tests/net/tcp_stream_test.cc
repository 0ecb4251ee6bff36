// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/tcp_stream.h>.
#include <eddy/net/tcp_stream.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/readiness.h>
#include <eddy/loop/timer.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/unix_stream.h>

#include "support/async_test.h"
#include "support/failing_system.h"
#include "support/journal.h"
#include "support/socket_pair.h"
#include "support/stream_pair.h"

using namespace std::chrono_literals;
using eddy::const_buffer;
using eddy::result;
using eddy::tcp_stream;
using eddy::unix_stream;

static_assert(std::is_nothrow_move_constructible_v<tcp_stream>);
static_assert(std::is_nothrow_move_assignable_v<tcp_stream>);
static_assert(!std::is_copy_constructible_v<tcp_stream>);
static_assert(!std::is_aggregate_v<tcp_stream::keep_alive_times> ||
              std::is_trivially_destructible_v<tcp_stream::keep_alive_times>);
static_assert(!std::is_aggregate_v<decltype(std::declval<tcp_stream&>().wait_readable())>);
static_assert(sizeof(tcp_stream) == sizeof(void*));

namespace {

std::string letters(std::size_t count) {
  std::string text;
  text.reserve(count);
  for (std::size_t i = 0; i < count; ++i) text += static_cast<char>('a' + (i * 7 + i / 26) % 26);
  return text;
}

eddy::task<std::string> read_to_end(tcp_stream& from, std::size_t piece = 1000) {
  std::string all;
  std::vector<char> buffer(piece);
  for (;;) {
    const std::size_t n = co_await from.read(buffer);
    if (n == 0) co_return all;
    all.append(buffer.data(), n);
  }
}

eddy::task<> write_and_end(tcp_stream& to, const std::string& text) {
  co_await to.write(text);
  to.shutdown();
}

/// The kernel, with a note of the most bytes that one call was given.
class measured : public failing_system {
public:
  ssize_t read(int descriptor, void* data, std::size_t size) override {
    most_read = std::max(most_read, size);
    return failing_system::read(descriptor, data, size);
  }
  ssize_t send(int descriptor, const void* data, std::size_t size, int flags) override {
    most_sent = std::max(most_sent, size);
    return failing_system::send(descriptor, data, size, flags);
  }
  ssize_t send_message(int descriptor, const msghdr* message, int flags) override {
    std::size_t size = 0;
    for (std::size_t i = 0; i < message->msg_iovlen; ++i) size += message->msg_iov[i].iov_len;
    most_sent = std::max(most_sent, size);
    return failing_system::send_message(descriptor, message, flags);
  }

  std::size_t most_read = 0;
  std::size_t most_sent = 0;
};

int option(const tcp_stream& of, int level, int name) {
  int value = 0;
  socklen_t size = sizeof value;
  REQUIRE(::getsockopt(of.descriptor(), level, name, &value, &size) == 0);
  return value;
}

eddy::task<> read_twice(tcp_stream& from) {
  std::array<char, 8> buffer;
  for (int i = 0; i < 2; ++i) co_await from.read(buffer);
}

/// Reads until the end, with handlers.
struct reader {
  explicit reader(tcp_stream& s) : from(s) { more(); }
  void more() {
    from.read(buffer, [this](result<std::size_t> n) {
      if (!n || *n == 0) {
        error = n ? std::error_code() : n.error();
        ended = true;
        return;
      }
      all.append(buffer.data(), *n);
      more();
    });
  }
  tcp_stream& from;
  std::array<char, 1000> buffer;
  std::string all;
  std::error_code error;
  bool ended = false;
};

}  // namespace

ASYNC_TEST("a read returns the bytes that are there") {
  stream_pair pair(loop);
  send(pair.far, "abc");
  std::array<char, 2> buffer;
  const std::size_t first = co_await pair.near.read(buffer);
  CHECK(std::string(buffer.data(), first) == "ab");
  const std::size_t second = co_await pair.near.read(buffer);
  CHECK(std::string(buffer.data(), second) == "c");
}

ASYNC_TEST("a read waits until bytes arrive") {
  stream_pair pair(loop);
  journal note;
  auto reading = [](tcp_stream& from, journal& j) -> eddy::task<> {
    std::array<std::byte, 8> buffer;
    const std::size_t n = co_await from.read(buffer);
    j("read");
    j(n);
  };
  auto done = eddy::spawn(loop, reading(pair.near, note));
  co_await eddy::sleep(1ms);
  note("send");
  send(pair.far, "abc");
  co_await std::move(done);
  CHECK(note == "send read 3");
}

ASYNC_TEST("each read at the end of the stream returns 0") {
  stream_pair pair(loop);
  send(pair.far, "a");
  pair.far.close();
  std::array<char, 8> buffer;
  const std::size_t before = co_await pair.near.read(buffer);
  CHECK(before == 1);
  for (int i = 0; i < 3; ++i) {
    const std::size_t n = co_await pair.near.read(buffer);
    CHECK(n == 0);
  }
}

ASYNC_TEST("a write sends all bytes while the peer reads") {
  stream_pair pair(loop);
  pair.near.set_send_buffer(4096);
  const std::string text = letters(3'000'000);
  auto both = eddy::join(write_and_end(pair.near, text), read_to_end(pair.far));
  const auto ended = co_await std::move(both);
  CHECK(std::get<1>(ended) == text);
}

TEST_CASE_FIXTURE(with_loop, "handlers get the same results as awaits") {
  stream_pair pair(loop);
  pair.near.set_send_buffer(4096);
  const std::string text = letters(3'000'000);
  reader read(pair.far);
  pair.near.write(text, [&](result<void> r) {
    CHECK(r.has_value());
    pair.near.shutdown();
  });
  loop.run();
  CHECK(read.ended);
  CHECK(!read.error);
  CHECK(read.all == text);
}

ASYNC_TEST("several buffers are written in order, and empty buffers add nothing") {
  stream_pair pair(loop);
  const std::string head = "head ";
  const std::vector<std::byte> middle = {std::byte{'m'}, std::byte{' '}};
  const std::array<const_buffer, 5> parts = {"", head, middle, const_buffer(), "tail"};
  co_await pair.near.write(parts);
  CHECK(take(pair.far) == "head m tail");
  co_await pair.near.write(std::span<const const_buffer>());
  co_await pair.near.write("");
  CHECK(take(pair.far).empty());
}

ASYNC_TEST("any number of buffers of any size is written") {
  stream_pair pair(loop);
  pair.near.set_send_buffer(4096);
  std::vector<std::string> texts;
  std::vector<const_buffer> parts;
  std::string whole;
  for (std::size_t i = 0; i < 1000; ++i) texts.push_back(letters(i * i % 3001));
  for (const std::string& t : texts) {
    parts.emplace_back(t);
    whole += t;
  }
  auto writing = [](tcp_stream& to, const std::vector<const_buffer>& all) -> eddy::task<> {
    co_await to.write(all);
    to.shutdown();
  };
  auto both = eddy::join(writing(pair.near, parts), read_to_end(pair.far));
  const auto ended = co_await std::move(both);
  CHECK(std::get<1>(ended) == whole);
}

ASYNC_TEST("reads and writes work if the kernel moves one byte at a time") {
  stream_pair pair(loop);
  const std::string text = letters(200);
  const std::array<const_buffer, 3> parts = {"one", "", text};
  failing_system system;
  system.limit_bytes(1);
  co_await pair.near.write(text);
  co_await pair.near.write(parts);
  system.limit_bytes(1'000'000);
  CHECK(take(pair.far) == text + "one" + text);
}

ASYNC_TEST("a system call that a signal interrupts is repeated") {
  stream_pair pair(loop);
  failing_system system;
  system.fail(call::send, EINTR);
  system.fail(call::read, EINTR);
  co_await pair.near.write("abc");
  std::array<char, 8> buffer;
  const std::size_t n = co_await pair.far.read(buffer);
  CHECK(n == 3);
}

ASYNC_TEST("a try never waits") {
  stream_pair pair(loop);
  std::array<char, 8> buffer;
  CHECK(!pair.near.try_read(buffer));
  send(pair.far, "abc");
  CHECK(pair.near.try_read(buffer)->value() == 3);

  const std::string much = letters(100'000);
  std::size_t written = 0;
  while (auto n = pair.near.try_write(much)) written += n->value();
  CHECK(written > 0);
  CHECK(take(pair.far).size() == written);
  CHECK(pair.near.try_write("")->value() == 0);
  pair.far.close();
  CHECK(pair.near.try_read(buffer)->value() == 0);
  co_return;
}

ASYNC_TEST("wait_readable takes no bytes and needs no buffer") {
  stream_pair pair(loop);
  auto sending = [](tcp_stream& to) -> eddy::task<> {
    co_await eddy::sleep(1ms);
    send(to, "abc");
  };
  auto sent = eddy::spawn(loop, sending(pair.far));
  co_await pair.near.wait_readable();
  CHECK(sent.ready());
  co_await pair.near.wait_readable();
  CHECK(take(pair.near) == "abc");
  pair.far.close();
  co_await pair.near.wait_readable();
  std::array<char, 8> buffer;
  const std::size_t n = co_await pair.near.read(buffer);
  CHECK(n == 0);
}

ASYNC_TEST("wait_writable completes when the kernel has space") {
  stream_pair pair(loop);
  const std::string much = letters(100'000);
  while (pair.near.try_write(much)) {
  }
  auto emptying = [](tcp_stream& from) -> eddy::task<> {
    co_await eddy::sleep(1ms);
    static_cast<void>(take(from));
  };
  auto emptied = eddy::spawn(loop, emptying(pair.far));
  co_await pair.near.wait_writable();
  CHECK(emptied.ready());
  CHECK(pair.near.try_write(much).has_value());
}

TEST_CASE_FIXTURE(with_loop, "wait_readable and wait_writable call their handlers") {
  stream_pair pair(loop);
  journal note;
  pair.near.wait_writable([&](result<void> r) {
    note(r ? "writable" : "error");
    send(pair.far, "x");
  });
  pair.near.wait_readable([&](result<void> r) { note(r ? "readable" : "error"); });
  loop.run();
  CHECK(note == "writable readable");
  CHECK(take(pair.near) == "x");
}

ASYNC_TEST("one direction can end while the other goes on") {
  stream_pair pair(loop);
  pair.near.shutdown();
  std::array<char, 8> buffer;
  const std::size_t end = co_await pair.far.read(buffer);
  CHECK(end == 0);
  co_await pair.far.write("still");
  const std::size_t n = co_await pair.near.read(buffer);
  CHECK(std::string(buffer.data(), n) == "still");
  const auto late = co_await eddy::as_result(pair.near.write("x"));
  REQUIRE(!late);
  CHECK(late.error() == std::errc::broken_pipe);
}

ASYNC_TEST("a reset is an error that names the peer") {
  stream_pair pair(loop);
  const std::string name = pair.near.peer_address().to_string();
  auto reset = [](tcp_stream& s) -> eddy::task<> {
    co_await eddy::sleep(1ms);
    s.set_linger(0s);
    s.close();
  };
  auto resetting = eddy::spawn(loop, reset(pair.far));
  std::array<char, 8> buffer;
  std::string what;
  try {
    co_await pair.near.read(buffer);
  } catch (const std::system_error& e) {
    CHECK(e.code() == std::errc::connection_reset);
    what = e.what();
  }
  CHECK(what == "read from " + name + ": Connection reset by peer");
}

ASYNC_TEST("a reset after a short read is found") {
  stream_pair pair(loop);
  send(pair.far, "abc");
  std::array<char, 8> buffer;
  const std::size_t n = co_await pair.near.read(buffer);
  CHECK(n == 3);
  pair.far.set_linger(0s);
  pair.far.close();
  const auto r = co_await eddy::as_result(pair.near.read(buffer));
  REQUIRE(!r);
  CHECK(r.error() == std::errc::connection_reset);
}

ASYNC_TEST("the end after a short read is found, and so are the bytes before it") {
  stream_pair pair(loop);
  send(pair.far, "abc");
  std::array<char, 8> buffer;
  const std::size_t first = co_await pair.near.read(buffer);
  CHECK(first == 3);
  send(pair.far, "de");
  pair.far.close();
  const std::size_t second = co_await pair.near.read(buffer);
  CHECK(second == 2);
  const std::size_t end = co_await pair.near.read(buffer);
  CHECK(end == 0);
}

ASYNC_TEST("a write to a closed peer is an error and no signal") {
  std::signal(SIGPIPE, SIG_DFL);
  stream_pair pair(loop);
  pair.far.set_linger(0s);
  pair.far.close();
  const std::array<const_buffer, 2> parts = {"a", "b"};
  for (int i = 0; i < 3; ++i) {
    const auto one = co_await eddy::as_result(pair.near.write("x"));
    CHECK(!one);
    const auto several = co_await eddy::as_result(pair.near.write(parts));
    CHECK(!several);
    CHECK(!pair.near.try_write("x")->has_value());
  }
}

ASYNC_TEST("take_error returns an error that no operation has reported") {
  stream_pair pair(loop);
  CHECK(!pair.near.take_error());
  pair.far.set_linger(0s);
  pair.far.close();
  co_await pair.near.wait_readable();
  CHECK(pair.near.take_error() == std::errc::connection_reset);
  CHECK(!pair.near.take_error());
}

TEST_CASE_FIXTURE(with_loop, "a write with a handler sends at once and calls the handler later") {
  const socket_pair pair;
  unix_stream near(loop, ::dup(pair.near()));
  journal note;
  loop.defer([&] {
    loop.defer([&] { note("one that was ready before"); });
    near.write("x", [&](result<void> sent) { note(sent ? "sent" : sent.error().message()); });
    char got = 0;
    const bool left = ::recv(pair.far(), &got, 1, MSG_DONTWAIT) == 1;
    note(left ? "in the call" : "later");
  });
  loop.run();
  CHECK(note == "in the call one that was ready before sent");

  // After one handler's share of the turn, the other handlers run first.
  loop.defer([&] {
    while (loop.may_go_on()) {
    }
    near.write("x", [](result<void>) {});
    char got = 0;
    CHECK(::recv(pair.far(), &got, 1, MSG_DONTWAIT) == -1);
  });
  loop.run();
}

TEST_CASE_FIXTURE(with_loop, "a write that begins outside a turn is sent in the next turn") {
  const socket_pair pair;
  unix_stream near(loop, ::dup(pair.near()));
  char got = 0;
  for (int i = 0; i < 3; ++i) {
    near.write("x", [](result<void>) {});
    CHECK(::recv(pair.far(), &got, 1, MSG_DONTWAIT) == -1);
    loop.run();
    CHECK(::recv(pair.far(), &got, 1, MSG_DONTWAIT) == 1);
  }
}

TEST_CASE_FIXTURE(with_loop, "the handler of a write gets an error that the write finds at once") {
  const socket_pair pair;
  unix_stream near(loop, ::dup(pair.near()));
  const auto ends = [&](std::error_code& end) {
    near.write("x", [&end](result<void> sent) { end = sent ? std::error_code() : sent.error(); });
  };
  std::error_code first;
  std::error_code second;
  std::error_code third;
  loop.defer([&] { ends(first); });
  loop.run();
  CHECK(!first);
  ::shutdown(pair.near(), SHUT_WR);
  loop.defer([&] { ends(second); });
  loop.run();
  CHECK(second == std::errc::broken_pipe);
  loop.defer([&] { ends(third); });
  loop.run();
  CHECK(third == std::errc::broken_pipe);
}

TEST_CASE_FIXTURE(with_loop, "options have the values that were set") {
  stream_pair pair(loop);
  tcp_stream& s = pair.near;
  CHECK(!s.no_delay());
  s.set_no_delay(true);
  CHECK(s.no_delay());
  s.set_keep_alive(true);
  CHECK(s.keep_alive());
  s.set_keep_alive({.idle = std::chrono::seconds::max(), .interval = std::chrono::hours(100)});
  s.set_keep_alive(false);
  CHECK(!s.keep_alive());
  s.set_keep_alive({.idle = 10s, .interval = 5s, .probes = 3});
  CHECK(s.keep_alive());
  s.set_send_buffer(10'000);
  CHECK(s.send_buffer() == 20'000);
  s.set_receive_buffer(10'000);
  CHECK(s.receive_buffer() == 20'000);
  s.set_linger(5s);
  s.set_linger(std::nullopt);
}

TEST_CASE_FIXTURE(with_loop, "the times of set_keep_alive reach the system") {
  stream_pair pair(loop);
  pair.near.set_keep_alive({.idle = 10s, .interval = 5s, .probes = 3});
  CHECK(option(pair.near, IPPROTO_TCP, TCP_KEEPIDLE) == 10);
  CHECK(option(pair.near, IPPROTO_TCP, TCP_KEEPINTVL) == 5);
  CHECK(option(pair.near, IPPROTO_TCP, TCP_KEEPCNT) == 3);
}

TEST_CASE_FIXTURE(with_loop, "a buffer size that no int can hold asks for the largest buffer") {
  stream_pair pair(loop);
  tcp_stream& s = pair.near;
  s.set_send_buffer(INT_MAX);
  s.set_receive_buffer(INT_MAX);
  const std::size_t most_sent = s.send_buffer();
  const std::size_t most_received = s.receive_buffer();
  for (const std::size_t size :
       {std::size_t{INT_MAX} + 1, (std::size_t{1} << 32) + 5000, SIZE_MAX}) {
    INFO(size);
    s.set_send_buffer(10'000);
    s.set_send_buffer(size);
    CHECK(s.send_buffer() == most_sent);
    s.set_receive_buffer(10'000);
    s.set_receive_buffer(size);
    CHECK(s.receive_buffer() == most_received);
  }
}

TEST_CASE_FIXTURE(with_loop, "an option that the system refuses is an error") {
  stream_pair pair(loop);
  failing_system system;
  system.fail(call::set_option, EOPNOTSUPP);
  CHECK_THROWS_WITH_AS(pair.near.set_no_delay(true), "setting no-delay: Operation not supported",
                       std::system_error);
}

TEST_CASE_FIXTURE(with_loop, "both ends know their addresses") {
  stream_pair pair(loop);
  CHECK(pair.near.peer_address() == pair.far.local_address());
  CHECK(pair.far.peer_address() == pair.near.local_address());
  CHECK(pair.near.peer_address().is_loopback());
}

TEST_CASE_FIXTURE(with_loop, "the streams of the process are counted") {
  CHECK(tcp_stream::count() == 0);
  {
    stream_pair pair(loop);
    CHECK(tcp_stream::count() == 2);
    const tcp_stream moved = std::move(pair.far);
    CHECK(!pair.far.open());
    CHECK(moved.open());
    CHECK(tcp_stream::count() == 2);
    pair.near.close();
    pair.near.close();
    CHECK(!pair.near.open());
    CHECK(tcp_stream::count() == 1);
  }
  CHECK(tcp_stream::count() == 0);
}

TEST_CASE_FIXTURE(with_loop, "a stream takes over a connected TCP socket") {
  stream_pair pair(loop);
  tcp_stream s(loop, ::fcntl(pair.near.descriptor(), F_DUPFD_CLOEXEC, 0));
  send(pair.far, "abc");
  CHECK(take(s) == "abc");
}

TEST_CASE_FIXTURE(with_loop, "a connected Unix socket is refused as a tcp_stream and closed") {
  const socket_pair pair;
  std::error_code error;
  try {
    const tcp_stream s(loop, ::fcntl(pair.near(), F_DUPFD_CLOEXEC, 0));
  } catch (const std::system_error& e) {
    error = e.code();
    CHECK(std::string(e.what()).find(", a Unix socket, as a tcp_stream") != std::string::npos);
  }
  CHECK(error == std::errc::address_family_not_supported);
}

TEST_CASE_FIXTURE(with_loop, "a descriptor that is no connected socket is refused and closed") {
  CHECK_THROWS_AS(tcp_stream(loop, -1), std::system_error);
  CHECK_THROWS_AS(tcp_stream(loop, ::open("/dev/null", O_RDONLY | O_CLOEXEC)), std::system_error);
  CHECK_THROWS_AS(tcp_stream(loop, ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
                  std::system_error);
  CHECK(tcp_stream::count() == 0);
}

TEST_CASE_FIXTURE(with_loop,
                  "a stream that can't be taken over tells why, however its close ends") {
  CHECK(refusal_to_take_over<tcp_stream>(loop) == std::errc::operation_not_permitted);
}

TEST_CASE_FIXTURE(with_loop, "a descriptor is closed if there is no memory for its stream") {
  using eddy::detail::failing_allocations;
  stream_pair pair(loop);
  const int descriptor = ::fcntl(pair.near.descriptor(), F_DUPFD_CLOEXEC, 0);
  bool thrown = false;
  try {
    const failing_allocations all(0, failing_allocations::times::for_good);
    const tcp_stream s(loop, descriptor);
  } catch (const std::bad_alloc&) {
    thrown = true;
  }
  CHECK(thrown);
  CHECK(tcp_stream::count() == 2);
}

TEST_CASE_FIXTURE(with_loop, "an assignment closes the previous stream") {
  stream_pair first(loop);
  stream_pair second(loop);
  const auto peer = second.near.peer_address();
  first.near = std::move(second.near);
  CHECK(tcp_stream::count() == 3);
  CHECK(!second.near.open());
  CHECK(first.near.peer_address() == peer);
  std::array<char, 1> buffer;
  CHECK(first.far.try_read(buffer)->value() == 0);
}

TEST_CASE_FIXTURE(with_loop, "a read of a descriptor that the program has closed is an error") {
  bool waited_before = false;
  bool names_a_file = false;
  SUBCASE("on a loop that has not waited yet") {}
  SUBCASE("on a loop that has waited") { waited_before = true; }
  SUBCASE("when its number is a file's") { names_a_file = true; }
  SUBCASE("on a loop that has waited, when its number is a file's") {
    waited_before = names_a_file = true;
  }
  if (waited_before) {
    eddy::timer timer(loop);
    timer.start(1us, [] {});
    loop.run();
  }
  for (const bool reads : {true, false}) {
    INFO(reads);
    stream_pair pair(loop);
    const int number = pair.near.descriptor();
    const int copy = ::fcntl(number, F_DUPFD_CLOEXEC, number + 1);
    ::close(number);
    if (names_a_file) {
      const int path = ::open("/", O_PATH | O_CLOEXEC);
      if (path != number) {
        CHECK(::dup3(path, number, O_CLOEXEC) == number);
        ::close(path);
      }
    }
    std::error_code error;
    const auto take = [&](result<void> r) { error = r ? std::error_code() : r.error(); };
    if (reads) {
      pair.near.wait_readable(take);
    } else {
      pair.near.wait_writable(take);
    }
    loop.run();
    CHECK(error == std::errc::bad_file_descriptor);
    // The stream is going to close this number.
    CHECK(::dup3(copy, number, O_CLOEXEC) == number);
    ::close(copy);
  }
}

TEST_CASE_FIXTURE(with_loop, "a stream whose descriptor reuses a closed number is watched") {
  for (const bool copied : {false, true}) {
    INFO(copied);
    eddy::tcp_listener listener(loop, eddy::address::loopback_v4(0));
    const int client = plain_connection(listener.local_address());
    pollfd waits{.fd = listener.descriptor(), .events = POLLIN, .revents = 0};
    CHECK(::poll(&waits, 1, 10'000) == 1);
    const int number = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    eddy::readiness closed(loop, number);
    std::error_code error;
    closed.wait_readable([&](std::error_code e) { error = e; });
    loop.run_ready();
    const int copy = copied ? ::fcntl(number, F_DUPFD_CLOEXEC, number + 1) : -1;
    ::close(number);
    tcp_stream stream = next_of(listener);
    REQUIRE(stream.descriptor() == number);
    std::array<char, 8> buffer;
    std::size_t got = 0;
    stream.read(buffer, [&](result<std::size_t> r) { got = r.value(); });
    loop.run_ready();  // the read finds nothing and waits
    CHECK(::write(client, "hello", 5) == 5);
    loop.run();
    CHECK(error == std::errc::bad_file_descriptor);
    CHECK(got == 5);
    ::close(client);
    if (copy >= 0) ::close(copy);
  }
}

TEST_CASE_FIXTURE(with_loop,
                  "a closed stream is not watched, though a copy of its descriptor is open") {
  stream_pair pair(loop);
  std::array<char, 8> buffer;
  pair.near.read(buffer, [](result<std::size_t>) { FAIL("it was dropped"); });
  loop.run_ready();
  pollfd watched{.fd = loop.descriptor(), .events = POLLIN, .revents = 0};
  const int copy = ::fcntl(pair.near.descriptor(), F_DUPFD_CLOEXEC, 0);
  pair.near.close();
  send(pair.far, "x");
  pollfd readable{.fd = copy, .events = POLLIN, .revents = 0};
  CHECK(::poll(&readable, 1, 10'000) == 1);
  CHECK(::poll(&watched, 1, 0) == 0);
  ::close(copy);
}

TEST_CASE_FIXTURE(with_loop, "after a read at the end, the next read does not wait") {
  stream_pair pair(loop);
  pair.far.close();
  auto reading = eddy::spawn(loop, read_twice(pair.near));
  loop.run_ready();
  CHECK(reading.ready());
}

ASYNC_TEST("no system call moves more than 256 KiB") {
  constexpr std::size_t most = 262'144;
  stream_pair pair(loop);
  const std::string text = letters(3'000'000);
  const std::array<const_buffer, 2> parts = {text, text};
  auto writing = [](tcp_stream& to, std::span<const const_buffer> all) -> eddy::task<> {
    co_await to.write(all[0]);
    co_await to.write(all);
    to.shutdown();
  };
  measured system;
  auto both = eddy::join(writing(pair.near, parts), read_to_end(pair.far, 1'000'000));
  const auto ended = co_await std::move(both);
  CHECK(std::get<1>(ended).size() == 3 * text.size());
  CHECK(system.most_read == most);
  CHECK(system.most_sent == most);
}

TEST_CASE_FIXTURE(with_loop,
                  "an exception that leaves a handler leaves run, and the stream is whole") {
  stream_pair pair(loop);
  send(pair.far, "abc");
  std::array<char, 8> buffer;
  pair.near.read(buffer, [](result<std::size_t>) { throw std::runtime_error("mine"); });
  CHECK_THROWS_WITH_AS(loop.run(), "mine", std::runtime_error);
  std::size_t read = 0;
  pair.near.read(buffer, [&](result<std::size_t> n) { read = n.value_or(0); });
  send(pair.far, "de");
  loop.run();
  CHECK(read == 2);
}

TEST_CASE_FIXTURE(with_loop, "each stream of a thousand gets its own bytes") {
  struct echo {
    explicit echo(eddy::event_loop& l) : pair(l) { more(); }
    void more() {
      pair.far.read(buffer, [this](result<std::size_t> n) {
        if (!n || *n == 0) return pair.far.close();
        pair.far.write(std::span(buffer).first(*n), [this](result<void>) { more(); });
      });
    }
    stream_pair pair;
    std::array<char, 16> buffer;
  };
  std::vector<std::unique_ptr<echo>> all;
  for (int i = 0; i < 300; ++i) all.push_back(std::make_unique<echo>(loop));
  std::vector<eddy::future<std::string>> clients;
  auto talk = [](tcp_stream& s, std::string word) -> eddy::task<std::string> {
    std::string heard;
    std::array<char, 16> buffer;
    for (int i = 0; i < 10; ++i) {
      co_await s.write(word);
      for (std::size_t n = 0; n < word.size();) {
        const std::size_t more = co_await s.read(buffer);
        heard.append(buffer.data(), more);
        n += more;
      }
    }
    s.shutdown();
    co_return heard;
  };
  for (std::size_t i = 0; i < all.size(); ++i) {
    clients.push_back(eddy::spawn(loop, talk(all[i]->pair.near, std::to_string(i) + ' ')));
  }
  loop.run();
  for (std::size_t i = 0; i < all.size(); ++i) {
    std::string expected;
    for (int j = 0; j < 10; ++j) expected += std::to_string(i) + ' ';
    CHECK(std::move(clients[i]).take().value() == expected);
  }
}
