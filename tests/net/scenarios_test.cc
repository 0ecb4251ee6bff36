// SPDX-License-Identifier: BSD-2-Clause
// Every operation of net/, cancelled at every point.
#include <array>
#include <chrono>
#include <cstddef>
#include <span>
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
#include <eddy/net/address.h>
#include <eddy/net/connect.h>
#include <eddy/net/resolve.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>
#include <eddy/net/udp_socket.h>
#include <eddy/testing/failing_new.h>

#include "support/every_point.h"
#include "support/stream_pair.h"
#include "support/stream_tasks.h"
#include "support/udp_pair.h"

using namespace std::chrono_literals;
using eddy::join;
using eddy::sleep;
using eddy::task;
using eddy::tcp_listener;
using eddy::tcp_stream;
using eddy::timeout;
using eddy::trial;

namespace {

task<> send_later(tcp_stream& to, std::string bytes) {
  co_await sleep(1s);
  co_await to.write(bytes);
}

/// Two ends of a connection that outlive the tasks.
struct connected {
  explicit connected(trial& t) : of(t), ends(t.loop()) {}

  /// Reads until the end, and runs `other` at the same time.
  task<> hear(std::string_view expected, task<> other) {
    const trial::part held(of);
    auto both = join(read_all(ends.near), std::move(other));
    const auto [all, nothing] = co_await std::move(both);
    CHECK(all == expected);
  }

  trial& of;
  stream_pair ends;
};

struct reads_late_bytes : connected {
  using connected::connected;
  task<> work() {
    const trial::part held(of);
    auto both = join(read(), send_later(ends.far, "word"));
    co_await std::move(both);
  }
  task<> read() {
    const std::string some = co_await read_some(ends.near);
    got += some;
  }
  std::string check(bool) {
    // Bytes that were sent and not read are there for the next reader.
    got += take(ends.near);
    return got.empty() || got == "word" ? "" : "bytes are lost: " + got;
  }
  std::string got;
};

struct loses_no_bytes : connected {
  explicit loses_no_bytes(trial& t) : connected(t) { send(ends.far, "word"); }
  task<> work() {
    const trial::part held(of);
    co_await sleep(1s);
    const std::string some = co_await read_some(ends.near);
    got += some;
  }
  std::string check(bool) {
    got += take(ends.near);
    return got == "word" ? "" : "bytes are lost: " + got;
  }
  std::string got;
};

struct waits_for_readiness : connected {
  using connected::connected;
  task<> work() {
    const trial::part held(of);
    auto both = join(wait(), send_later(ends.far, "x"));
    co_await std::move(both);
  }
  task<> wait() { co_await ends.near.wait_readable(); }
};

struct writes_much : connected {
  using connected::connected;
  task<> work() {
    const trial::part held(of);
    auto both = join(send_all(), read());
    co_await std::move(both);
  }
  task<> send_all() {
    const std::string much(4'000'000, 'm');
    co_await ends.near.write(much);
    ends.near.shutdown();
  }
  task<> read() {
    std::vector<char> large(1'000'000);
    for (;;) {
      const std::size_t n = co_await ends.far.read(std::span(large));
      if (n == 0) break;
      got += n;
    }
  }
  std::string check(bool whole) const { return !whole || got == 4'000'000 ? "" : "bytes are lost"; }
  std::size_t got = 0;
};

struct writes_to_a_full_socket : connected {
  using connected::connected;
  task<> work() {
    const trial::part held(of);
    auto limited = timeout(1s, write_all(ends.near, std::string(8'000'000, 'm')));
    const auto r = co_await eddy::as_result(std::move(limited));
    CHECK(!r);
  }
};

struct waits_until_writable : connected {
  using connected::connected;
  task<> work() {
    const trial::part held(of);
    const std::string much(1'000'000, 'm');
    for (;;) {
      const auto sent = ends.near.try_write(much);
      if (!sent) break;
    }
    auto both = join(wait(), read());
    co_await std::move(both);
  }
  task<> wait() { co_await ends.near.wait_writable(); }
  task<> read() {
    co_await sleep(1s);
    while (!take(ends.far).empty()) {
    }
  }
};

struct reads_until_the_end : connected {
  using connected::connected;
  task<> work() { co_await hear("first second", send()); }
  task<> send() {
    co_await ends.far.write(std::string_view("first "));
    co_await sleep(1s);
    co_await ends.far.write(std::string_view("second"));
    ends.far.shutdown();
  }
};

struct shuts_down_behind_a_write : connected {
  using connected::connected;
  task<> work() {
    const trial::part held(of);
    auto all = join(send(), shut_down(), read());
    co_await std::move(all);
  }
  task<> send() {
    const std::string much(4'000'000, 'm');
    co_await ends.near.write(much);
  }
  task<> shut_down() {
    ends.near.shutdown();
    const auto late = co_await eddy::as_result(ends.near.write(std::string_view("late")));
    CHECK(!late);
  }
  task<> read() {
    std::vector<char> large(1'000'000);
    for (;;) {
      const std::size_t n = co_await ends.far.read(std::span(large));
      if (n == 0) break;
      got += n;
    }
  }
  std::string check(bool whole) const { return !whole || got == 4'000'000 ? "" : "bytes are lost"; }
  std::size_t got = 0;
};

struct echoes : connected {
  using connected::connected;
  task<> work() {
    const trial::part held(of);
    auto both = join(ask(), answer());
    co_await std::move(both);
  }
  task<> ask() {
    for (int i = 0; i < 2; ++i) {
      co_await ends.near.write(std::string_view("ping"));
      const std::string pong = co_await read_some(ends.near);
      CHECK(pong == "ping");
    }
    ends.near.shutdown();
  }
  task<> answer() {
    for (;;) {
      const std::string some = co_await read_some(ends.far);
      if (some.empty()) break;
      co_await ends.far.write(some);
    }
  }
};

struct ends_reading : connected {
  using connected::connected;
  task<> work() { co_await hear("early", stop()); }
  task<> stop() {
    co_await ends.far.write(std::string_view("early"));
    co_await sleep(1s);
    ends.near.shutdown_read();
    co_await ends.far.write(std::string_view("late"));
  }
};

struct stops_reading : connected {
  using connected::connected;
  task<> work() {
    const trial::part held(of);
    auto both = join(read(), stop());
    co_await std::move(both);
  }
  task<> read() {
    auto reading = read_some(ends.near);
    bool stopped = false;
    try {
      co_await std::move(reading);
    } catch (const std::system_error& e) {
      stopped = e.code() == std::errc::operation_canceled;
      if (!stopped) throw;
    }
    CHECK(stopped);
  }
  task<> stop() {
    co_await sleep(1s);
    ends.near.stop_reading();
  }
};

struct reads_at_both_ends : connected {
  using connected::connected;
  task<> work() {
    const trial::part held(of);
    auto all = join(read_some(ends.near), read_some(ends.far), send_later(ends.near, "a"),
                    send_later(ends.far, "b"));
    const auto [near, far, one, two] = co_await std::move(all);
    CHECK(near + far == "ba");
  }
};

struct reads_in_time : connected {
  using connected::connected;
  task<> work() {
    const trial::part held(of);
    auto late = timeout(1s, read_some(ends.near));
    const auto none = co_await eddy::as_result(std::move(late));
    CHECK(!none);
    co_await ends.far.write(std::string_view("x"));
    const std::string some = co_await timeout(1s, read_some(ends.near));
    CHECK(some == "x");
  }
};

/// Two UDP sockets that outlive the tasks.
struct datagrams {
  explicit datagrams(trial& t) : of(t), ends(t.loop()) {}

  /// Sends `count` datagrams, from "0" on.
  task<> send_later(int count) {
    co_await sleep(1s);
    for (int i = 0; i < count; ++i) {
      const std::string word = std::to_string(i);
      co_await ends.far.send(word, ends.near_address);
    }
  }

  trial& of;
  udp_pair ends;
};

struct receives_a_late_datagram : datagrams {
  using datagrams::datagrams;
  task<> work() {
    const trial::part held(of);
    auto both = join(receive(), send_later(1));
    co_await std::move(both);
  }
  task<> receive() {
    std::array<char, 16> buffer;
    const eddy::datagram d = co_await ends.near.receive(buffer);
    got.assign(buffer.data(), d.size);
  }
  std::string check(bool whole) {
    // A datagram that was sent and not received is there for the next receive.
    const std::string left = take(ends.near);
    if (whole) return got == "0" && left == "nothing" ? "" : "the datagram is lost";
    return got.empty() || left == "nothing" ? "" : "the datagram came twice";
  }
  std::string got;
};

struct loses_no_datagram : datagrams {
  explicit loses_no_datagram(trial& t) : datagrams(t) {
    for (const std::string_view word : {"a", "b", "c"}) send(ends.far, word, ends.near_address);
  }
  task<> work() {
    const trial::part held(of);
    co_await sleep(1s);
    std::array<std::array<char, 16>, 2> bytes;
    std::array<eddy::incoming_datagram, 2> into{eddy::incoming_datagram(bytes[0]),
                                                eddy::incoming_datagram(bytes[1])};
    const std::size_t count = co_await ends.near.receive_many(into);
    for (std::size_t i = 0; i < count; ++i) got.append(bytes[i].data(), into[i].received.size);
    co_await sleep(1s);
  }
  std::string check(bool) {
    for (;;) {
      const std::string left = take(ends.near);
      if (left == "nothing") break;
      got += left;
    }
    return got == "abc" ? "" : "datagrams are lost: " + got;
  }
  std::string got;
};

struct sends_many_datagrams : datagrams {
  using datagrams::datagrams;
  task<> work() {
    const trial::part held(of);
    auto both = join(send_all(), receive());
    co_await std::move(both);
  }
  task<> send_all() {
    const std::vector<eddy::outgoing_datagram> all(
        100, eddy::outgoing_datagram(std::string_view("x"), ends.near_address));
    const std::size_t sent = co_await ends.far.send_many(all);
    CHECK(sent == 100);
  }
  task<> receive() {
    std::vector<std::array<char, 16>> bytes(40);
    std::vector<eddy::incoming_datagram> into(bytes.begin(), bytes.end());
    while (got < 100) {
      const std::size_t count = co_await ends.near.receive_many(into);
      got += count;
    }
  }
  std::size_t got = 0;
};

struct waits_for_a_datagram : datagrams {
  using datagrams::datagrams;
  task<> work() {
    const trial::part held(of);
    auto both = join(wait(), send_later(1));
    co_await std::move(both);
  }
  task<> wait() {
    co_await ends.near.wait_writable();
    co_await ends.near.wait_readable();
  }
};

struct receives_in_time : datagrams {
  using datagrams::datagrams;
  task<> work() {
    const trial::part held(of);
    auto late = timeout(500ms, receive());
    const auto none = co_await eddy::as_result(std::move(late));
    CHECK(!none);
    auto both = join(receive(), send_later(1));
    co_await std::move(both);
  }
  task<> receive() {
    std::array<char, 16> buffer;
    co_await ends.near.receive(buffer);
  }
};

struct stops_receiving : datagrams {
  using datagrams::datagrams;
  task<> work() {
    const trial::part held(of);
    auto both = join(receive(), stop());
    co_await std::move(both);
  }
  task<> receive() {
    std::array<char, 16> buffer;
    const auto r = co_await eddy::as_result(ends.near.receive(buffer));
    CHECK(r.error() == std::errc::operation_canceled);
  }
  task<> stop() {
    co_await sleep(1s);
    ends.near.close();
  }
};

struct is_told_of_an_unreachable_peer {
  explicit is_told_of_an_unreachable_peer(trial& t)
      : of(t),
        server(t.loop(), eddy::address::loopback_v4(0), {.icmp_errors = true}),
        nobody(deserted(t.loop())) {}
  task<> work() {
    const trial::part held(of);
    auto both = join(receive(), send_later());
    co_await std::move(both);
  }
  task<> receive() {
    std::array<char, 16> buffer;
    const auto r = co_await eddy::as_result(server.receive(buffer));
    CHECK(r.error() == std::errc::connection_refused);
    CHECK(server.last_icmp()->unreachable == nobody);
  }
  task<> send_later() {
    co_await sleep(1s);
    co_await server.send(std::string_view("x"), nobody);
  }
  trial& of;
  eddy::udp_socket server;
  eddy::address nobody;
};

/// A listener that outlives the tasks.
struct listening {
  explicit listening(trial& t) : of(t), listener(t.loop(), eddy::address::loopback_v4(0)) {}
  trial& of;
  tcp_listener listener;
};

struct accepts : listening {
  using listening::listening;
  task<> work() {
    const trial::part held(of);
    auto both = join(accept(), connect());
    co_await std::move(both);
  }
  task<> accept() {
    const tcp_stream stream = co_await listener.accept();
    CHECK(stream.open());
  }
  task<> connect() {
    co_await sleep(1s);
    const tcp_stream stream = co_await eddy::connect(listener.local_address());
    CHECK(stream.open());
  }
};

struct loses_no_connection : listening {
  explicit loses_no_connection(trial& t)
      : listening(t), client(t.loop(), plain_connection(listener.local_address())) {}
  task<> work() {
    const trial::part held(of);
    co_await sleep(1s);
    const tcp_stream stream = co_await listener.accept();
    accepted = true;
    co_await sleep(1s);
  }
  std::string check(bool) {
    if (!accepted) accepted = listener.try_accept().has_value();
    return accepted ? "" : "the connection is lost";
  }
  tcp_stream client;
  bool accepted = false;
};

struct accepts_in_time : listening {
  using listening::listening;
  task<> work() {
    const trial::part held(of);
    auto late = timeout(1s, accept());
    const auto none = co_await eddy::as_result(std::move(late));
    CHECK(!none);
  }
  task<> accept() { co_await listener.accept(); }
};

struct serves : listening {
  using listening::listening;
  task<> work() {
    const trial::part held(of);
    auto both = join(serve(), ask());
    co_await std::move(both);
  }
  task<> serve() {
    tcp_stream stream = co_await listener.accept();
    const std::string question = co_await read_all(stream);
    co_await stream.write(question);
  }
  task<> ask() {
    tcp_stream stream = co_await eddy::connect(listener.local_address());
    co_await stream.write(std::string_view("what"));
    stream.shutdown();
    const std::string answer = co_await read_all(stream);
    CHECK(answer == "what");
  }
};

}  // namespace

SCENARIO_OBJECT_TEST(reads_late_bytes, "read: bytes that arrive later")
SCENARIO_OBJECT_TEST(loses_no_bytes, "read: bytes that have arrived are never lost")
SCENARIO_OBJECT_TEST(waits_for_readiness, "wait_readable: bytes that arrive later")
SCENARIO_OBJECT_TEST(writes_much, "write: more bytes than the kernel takes at once")
SCENARIO_OBJECT_TEST(writes_to_a_full_socket,
                     "write: under a timeout, to a peer that does not read")
SCENARIO_OBJECT_TEST(waits_until_writable, "wait_writable: space that is free later")
SCENARIO_OBJECT_TEST(reads_until_the_end, "shutdown: the written bytes arrive before the end")
SCENARIO_OBJECT_TEST(shuts_down_behind_a_write, "shutdown: during a pending write")
SCENARIO_OBJECT_TEST(echoes, "read and write: two rounds of ping")
SCENARIO_OBJECT_TEST(ends_reading, "shutdown_read: the reader reads the end")
SCENARIO_OBJECT_TEST(stops_reading, "stop_reading: the reader is resumed")
SCENARIO_OBJECT_TEST(reads_at_both_ends, "read: at both ends at once")
SCENARIO_OBJECT_TEST(reads_in_time, "read: after a timeout, and then in time")
SCENARIO_OBJECT_TEST(receives_a_late_datagram, "receive: a datagram that arrives later")
SCENARIO_OBJECT_TEST(loses_no_datagram, "receive_many: datagrams that have arrived are never lost")
SCENARIO_OBJECT_TEST(sends_many_datagrams, "send_many, receive_many: 100 datagrams")
SCENARIO_OBJECT_TEST(waits_for_a_datagram, "wait_readable: a datagram that arrives later")
SCENARIO_OBJECT_TEST(receives_in_time, "receive: after a timeout, and then in time")
SCENARIO_OBJECT_TEST(stops_receiving, "receive: the socket is closed")
SCENARIO_OBJECT_TEST(is_told_of_an_unreachable_peer, "receive: an ICMP error that arrives later")
SCENARIO_OBJECT_TEST(accepts, "accept: a connection that arrives later")
SCENARIO_OBJECT_TEST(loses_no_connection, "accept: a queued connection is never lost")
SCENARIO_OBJECT_TEST(accepts_in_time, "accept: under a timeout")
SCENARIO_OBJECT_TEST(serves, "accept, connect, read, write, shutdown: a request")

SCENARIO_TEST("resolve: a literal address") {
  const trial::part held(t);
  const auto all = co_await eddy::resolve("127.0.0.1", 80);
  CHECK(all.size() == 1);
}

SCENARIO_TEST("connect: refused") {
  eddy::address nobody;
  {
    const tcp_listener gone(t.loop(), eddy::address::loopback_v4(0));
    nobody = gone.local_address();
  }
  auto refused = eddy::connect(nobody);
  const auto r = co_await eddy::as_result(std::move(refused));
  CHECK(r.error() == std::errc::connection_refused);
}

SCENARIO_TEST("connect: to a name") {
  const trial::part held(t);
  tcp_listener listener(t.loop(), eddy::address::loopback_v4(0));
  const tcp_stream stream = co_await eddy::connect("127.0.0.1", listener.local_address().port());
  CHECK(stream.open());
}

SCENARIO_TEST("connect: with options") {
  const trial::part held(t);
  tcp_listener listener(t.loop(), eddy::address::loopback_v4(0));
  const eddy::socket_options how{.local = eddy::address::loopback_v4(0), .send_buffer = 65536};
  const tcp_stream stream = co_await eddy::connect(listener.local_address(), how);
  CHECK(stream.open());
}
