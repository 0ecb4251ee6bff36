// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/udp_socket.h>.
#include <eddy/net/udp_socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/loop/detail/block_pool.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>

#include "support/any_loop.h"
#include "support/async_test.h"
#include "support/failing_system.h"
#include "support/forked.h"
#include "support/thrown.h"
#include "support/udp_pair.h"

using namespace std::chrono_literals;
using eddy::address;
using eddy::datagram;
using eddy::incoming_datagram;
using eddy::outgoing_datagram;
using eddy::result;
using eddy::udp_socket;

static_assert(std::is_nothrow_move_constructible_v<udp_socket>);
static_assert(!std::is_copy_constructible_v<udp_socket>);
static_assert(std::is_trivially_destructible_v<outgoing_datagram>);
static_assert(std::is_trivially_destructible_v<datagram>);

namespace {

using bytes = address::v4_bytes;

const address here = address::loopback_v4(0);
const address here_v6 = address::loopback_v6(0);

const unsigned loopback_interface = ::if_nametoindex("lo");

eddy::task<std::string> receive_text(udp_socket& at) {
  std::array<char, 2048> buffer;
  const datagram d = co_await at.receive(buffer);
  co_return std::string(buffer.data(), d.size);
}

/// Receives once, and returns the error.
eddy::task<std::error_code> receive_error(udp_socket& at) {
  std::array<char, 64> buffer;
  const auto r = co_await eddy::as_result(at.receive(buffer));
  if (r) co_return std::error_code();
  co_return r.error();
}

/// Buffers for several datagrams.
template <std::size_t Count, std::size_t Size = 64>
struct batch {
  batch() {
    for (std::size_t i = 0; i < Count; ++i) items[i].buffer = bytes[i];
  }
  [[nodiscard]] std::string text(std::size_t i) const {
    return std::string(bytes[i].data(), items[i].received.size);
  }
  std::array<std::array<char, Size>, Count> bytes;
  std::array<incoming_datagram, Count> items;
};

}  // namespace

// Receiving and sending.

ASYNC_TEST("a datagram arrives with its size and its sender") {
  udp_pair pair(loop);
  co_await pair.far.send(std::string_view("hello"), pair.near_address);
  std::array<char, 64> buffer;
  const datagram d = co_await pair.near.receive(buffer);
  CHECK(std::string_view(buffer.data(), d.size) == "hello");
  CHECK(d.whole_size == 5);
  CHECK(!d.truncated);
  CHECK(d.from == pair.far_address);
  CHECK(d.to == address());
  CHECK(d.interface == 0);
  CHECK(d.segment_size == 0);
}

TEST_CASE_TEMPLATE("a handler receives a datagram that arrives later", Loop, ANY_LOOP) {
  Loop f;
  udp_pair pair(f.loop);
  std::array<char, 64> buffer;
  std::string got;
  pair.near.receive(buffer, [&](result<datagram> d) {
    got.assign(buffer.data(), d.value().size);
    CHECK(d->from == pair.far_address);
  });
  bool sent = false;
  const std::string_view text = "word";
  pair.far.send(text, pair.near_address, [&](result<void> r) { sent = r.has_value(); });
  CHECK(got.empty());
  CHECK(!sent);
  f.run();
  CHECK(sent);
  CHECK(got == "word");
}

ASYNC_TEST("an empty datagram is a datagram of 0 bytes and not an end") {
  udp_pair pair(loop);
  co_await pair.far.send(std::string_view(), pair.near_address);
  co_await pair.far.send(std::string_view("x"), pair.near_address);
  std::array<char, 64> buffer;
  const datagram empty = co_await pair.near.receive(buffer);
  CHECK(empty.size == 0);
  CHECK(empty.from == pair.far_address);
  CHECK(!empty.truncated);
  const datagram next = co_await pair.near.receive(buffer);
  CHECK(next.size == 1);
}

ASYNC_TEST("a datagram that is larger than the buffer is truncated, and the result says so") {
  udp_pair pair(loop);
  co_await pair.far.send(std::string_view("0123456789"), pair.near_address);
  co_await pair.far.send(std::string_view("next"), pair.near_address);
  std::array<char, 4> buffer;
  const datagram d = co_await pair.near.receive(buffer);
  CHECK(d.size == 4);
  CHECK(d.whole_size == 10);
  CHECK(d.truncated);
  const datagram next = co_await pair.near.receive(buffer);
  CHECK(std::string_view(buffer.data(), next.size) == "next");
  CHECK(!next.truncated);
}

ASYNC_TEST("a receive into an empty buffer drops one datagram") {
  udp_pair pair(loop);
  co_await pair.far.send(std::string_view("lost"), pair.near_address);
  co_await pair.far.send(std::string_view("kept"), pair.near_address);
  const std::span<char> nothing;
  const datagram d = co_await pair.near.receive(nothing);
  CHECK(d.size == 0);
  CHECK(d.whole_size == 4);
  CHECK(d.truncated);
  const std::string next = co_await receive_text(pair.near);
  CHECK(next == "kept");
}

TEST_CASE_FIXTURE(with_loop, "try_receive and try_send never wait") {
  udp_pair pair(loop);
  std::array<char, 64> buffer;
  CHECK(!pair.near.try_receive(buffer));
  send(pair.far, "one", pair.near_address);
  const auto d = pair.near.try_receive(buffer);
  REQUIRE(d.has_value());
  CHECK((*d)->size == 3);
  failing_system system;
  system.fail(call::send_message, EAGAIN);
  CHECK(!pair.far.try_send(std::string_view("two"), pair.near_address));
}

ASYNC_TEST("a connected socket receives from its peer only") {
  udp_pair pair(loop);
  udp_socket client = udp_socket::connected(loop, pair.far_address);
  CHECK(client.peer_address() == pair.far_address);
  const address client_address = client.local_address();
  co_await client.send(std::string_view("question"));
  std::array<char, 64> buffer;
  const datagram question = co_await pair.far.receive(buffer);
  CHECK(question.from == client_address);
  co_await pair.near.send(std::string_view("forged"), client_address);
  co_await pair.far.send(std::string_view("answer"), client_address);
  const datagram d = co_await client.receive(buffer);
  CHECK(std::string_view(buffer.data(), d.size) == "answer");
  CHECK(d.from == pair.far_address);
}

ASYNC_TEST("a bound socket can be connected and disconnected") {
  udp_pair pair(loop);
  CHECK(pair.near.peer_address() == address());
  pair.near.connect(pair.far_address);
  CHECK(pair.near.peer_address() == pair.far_address);
  co_await pair.near.send(std::string_view("a"));
  const std::string first = co_await receive_text(pair.far);
  CHECK(first == "a");
  pair.near.disconnect();
  CHECK(pair.near.peer_address() == address());
  CHECK(pair.near.local_address().port() == pair.near_address.port());
  const auto unsent = co_await eddy::as_result(pair.near.send(std::string_view("b")));
  CHECK(unsent.error() == std::errc::destination_address_required);
}

ASYNC_TEST("a socket at [::] receives from IPv4, with mapped addresses") {
  udp_socket both(loop, address::any_v6(0), {.destination = true});
  udp_socket v4(loop, here);
  const std::uint16_t port = both.local_address().port();
  co_await v4.send(std::string_view("v4"), address::loopback_v4(port));
  std::array<char, 64> buffer;
  const datagram d = co_await both.receive(buffer);
  const address::v6_bytes mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1};
  CHECK(d.from == address(mapped, v4.local_address().port()));
  CHECK(d.to == address(mapped, port));
  CHECK(d.interface == loopback_interface);
  // A mapped source and a plain one are the same.
  co_await both.send(std::string_view("one"), d.from, {.from = d.to});
  co_await both.send(std::string_view("two"), v4.local_address(),
                     {.from = address::loopback_v4(0)});
  const datagram one = co_await v4.receive(buffer);
  CHECK(one.from == address::loopback_v4(port));
  const datagram two = co_await v4.receive(buffer);
  CHECK(two.from == address::loopback_v4(port));
}

ASYNC_TEST("a socket with ipv6_only refuses IPv4") {
  udp_socket six(loop, address::any_v6(0), {.ipv6_only = true});
  const udp_socket four(loop, address::any_v4(six.local_address().port()));
  const auto r = co_await eddy::as_result(six.send(std::string_view("x"), four.local_address()));
  CHECK(!r);
}

ASYNC_TEST("the option destination reports the local address and the interface of a datagram") {
  const address any = address::any_v4(0);
  udp_socket server(loop, any, {.destination = true});
  udp_socket client(loop, here);
  const std::uint16_t port = server.local_address().port();
  const address second(bytes{127, 0, 0, 2}, port);
  co_await client.send(std::string_view("question"), second);
  std::array<char, 64> buffer;
  const datagram question = co_await server.receive(buffer);
  CHECK(question.to == second);
  CHECK(question.interface == loopback_interface);
  co_await server.send(std::string_view("answer"), question.from, question.reply_source);
  const datagram answer = co_await client.receive(buffer);
  CHECK(answer.from == second);
}

ASYNC_TEST("the option destination works for IPv6, too") {
  udp_socket server(loop, address::any_v6(0), {.destination = true});
  udp_socket client(loop, here_v6);
  const address to = address::loopback_v6(server.local_address().port());
  co_await client.send(std::string_view("question"), to);
  std::array<char, 64> buffer;
  const datagram question = co_await server.receive(buffer);
  CHECK(question.to == to);
  CHECK(question.interface == loopback_interface);
  co_await server.send(std::string_view("answer"), question.from,
                       {.from = question.to, .interface = question.interface});
  const datagram answer = co_await client.receive(buffer);
  CHECK(answer.from == to);
}

/// Asks `server` at `to`, and returns the answer that it sends from the `reply_source`.
datagram ask(udp_socket& client, udp_socket& server, const address& to, datagram& question) {
  send(client, "question", to);
  std::array<char, 64> buffer;
  REQUIRE(arrives_at(server));
  question = server.try_receive(buffer)->value();
  const auto sent =
      server.try_send(std::string_view("answer"), question.from, question.reply_source);
  CHECK(sent->has_value());
  return arrives_at(client) ? client.try_receive(buffer)->value() : datagram();
}

TEST_CASE_FIXTURE(with_loop, "a reply_source answers a question to any IPv4 address") {
  const address::v6_bytes any_mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  for (const address& at : {address::any_v4(0), address::any_v6(0)}) {
    udp_socket server(loop, at, {.destination = true});
    udp_socket client(loop, here, {.broadcast = true});
    const std::uint16_t port = server.local_address().port();
    const address group(bytes{239, 255, 1, 5}, port);
    server.join(group, loopback_interface);
    client.set_multicast_interface(loopback_interface);
    const auto as_seen = [&](const address& a) {
      if (at.is_v4()) return a;
      address::v6_bytes mapped = any_mapped;
      std::copy_n(a.bytes().begin(), 4, mapped.begin() + 12);
      return address(mapped, port);
    };
    const address first(bytes{127, 0, 0, 1}, port);
    const address second(bytes{127, 0, 0, 2}, port);
    const address everybody(bytes{127, 255, 255, 255}, port);
    for (const auto& [to, from] :
         {std::pair(second, second), std::pair(everybody, first), std::pair(group, first)}) {
      CAPTURE(to.to_string());
      datagram question;
      const datagram answer = ask(client, server, to, question);
      CHECK(answer.from == from);
      CHECK(question.to == as_seen(to));
      CHECK(question.interface == loopback_interface);
      CHECK(question.reply_source.from == as_seen(from));
      CHECK(question.reply_source.interface == 0);
      const auto direct = server.try_send(std::string_view("x"), question.from, {.from = to});
      CHECK(direct->has_value() == (to == from));
      if (*direct) CHECK(take(client) == "x");
      // The same for several datagrams a call.
      send(client, "question", to);
      REQUIRE(arrives_at(server));
      batch<1> into;
      CHECK(server.try_receive_many(into.items)->value() == 1);
      const datagram& again = into.items[0].received;
      CHECK(again.to == question.to);
      const outgoing_datagram reply(std::string_view("answer"), again.from, again.reply_source);
      CHECK(server.try_send_many(std::span(&reply, 1))->value() == 1);
      std::array<char, 64> buffer;
      REQUIRE(arrives_at(client));
      CHECK(client.try_receive(buffer)->value().from == from);
    }
  }
}

TEST_CASE_FIXTURE(with_loop, "a reply_source answers a question to any IPv6 address") {
  udp_socket server(loop, address::any_v6(0), {.ipv6_only = true, .destination = true});
  udp_socket client(loop, address::any_v6(0));
  const std::uint16_t port = server.local_address().port();
  client.set_multicast_hops(0);  // nothing leaves the machine
  datagram question;
  CHECK(ask(client, server, address::loopback_v6(port), question).from ==
        address::loopback_v6(port));
  CHECK(question.reply_source.from == address::loopback_v6(port));
  CHECK(question.reply_source.interface == 0);
  // Not every interface has a route for multicast.
  struct if_nameindex* const interfaces = ::if_nameindex();
  REQUIRE(interfaces != nullptr);
  for (const char* const name : {"ff01::1235", "ff02::1235", "ff05::1235"}) {
    const address group = address::parse(name, port).value();
    const bool of_link = group.bytes()[1] != 5;
    for (const auto* at = interfaces; at->if_index != 0; ++at) {
      client.set_multicast_interface(at->if_index);
      server.join(group, at->if_index);
      if (client.try_send(std::string_view("is there a route?"), group)->has_value()) {
        std::array<char, 64> buffer;
        REQUIRE(arrives_at(server));
        CHECK(server.try_receive(buffer)->has_value());
        const datagram answer = ask(client, server, group, question);
        CHECK(answer.size == 6);
        CHECK(answer.from.port() == port);
        CHECK(question.to == address(group.bytes(), port, of_link ? at->if_index : 0));
        CHECK(question.reply_source.from == address());
        CHECK(question.reply_source.interface == at->if_index);
        const std::string_view x("x");
        CHECK(!server.try_send(x, question.from, {.from = question.to})->has_value());
      }
      server.leave(group, at->if_index);
    }
  }
  ::if_freenameindex(interfaces);
}

TEST_CASE_FIXTURE(with_loop, "a source may be only an interface, also by IPv4 at [::]") {
  udp_socket both(loop, address::any_v6(0));
  udp_socket v4(loop, here);
  const eddy::datagram_source source{.interface = loopback_interface};
  const auto sends = [&](const address& to) {
    const auto sent = both.try_send(std::string_view("x"), to, source);
    CHECK(sent->has_value());
    return take(v4) == "x";
  };
  CHECK(sends(v4.local_address()));
  const address mapped = address::parse("::ffff:127.0.0.1", v4.local_address().port()).value();
  CHECK(sends(mapped));
  both.connect(mapped);
  CHECK(sends(address()));
}

TEST_CASE_FIXTURE(with_loop, "an IPv6 source is no source for an IPv4 socket") {
  udp_pair pair(loop);
  const auto r = pair.near.try_send(std::string_view("x"), pair.far_address, {.from = here_v6});
  CHECK(r->error() == std::errc::address_family_not_supported);
}

ASYNC_TEST("a receive waits until a datagram arrives, and loses none when it is cancelled") {
  udp_pair pair(loop);
  auto reading = eddy::spawn(loop, receive_text(pair.near));
  co_await eddy::sleep(1s);
  CHECK(!reading.ready());
  co_await pair.far.send(std::string_view("word"), pair.near_address);
  reading = {};
  const std::string got = co_await receive_text(pair.near);
  CHECK(got == "word");
}

// Several at once.

ASYNC_TEST("receive_many returns the datagrams that are there, in their order") {
  udp_pair pair(loop);
  for (const std::string_view word : {"zero", "one", "", "three"}) {
    co_await pair.far.send(word, pair.near_address);
  }
  batch<8> into;
  const std::size_t count = co_await pair.near.receive_many(into.items);
  REQUIRE(count == 4);
  CHECK(into.text(0) == "zero");
  CHECK(into.text(1) == "one");
  CHECK(into.text(2).empty());
  CHECK(into.text(3) == "three");
  for (std::size_t i = 0; i < count; ++i) {
    CHECK(into.items[i].received.from == pair.far_address);
    CHECK(!into.items[i].received.truncated);
  }
}

ASYNC_TEST("receive_many tells for each datagram whether it was truncated, and its destination") {
  udp_pair pair(loop, {.destination = true});
  co_await pair.far.send(std::string_view("0123456789"), pair.near_address);
  co_await pair.far.send(std::string_view("ok"), pair.near_address);
  batch<4, 4> into;
  const std::size_t count = co_await pair.near.receive_many(into.items);
  REQUIRE(count == 2);
  CHECK(into.items[0].received.truncated);
  CHECK(into.items[0].received.whole_size == 10);
  CHECK(into.text(0) == "0123");
  CHECK(!into.items[1].received.truncated);
  CHECK(into.items[1].received.to == pair.near_address);
}

TEST_CASE_FIXTURE(with_loop,
                  "a receive_many takes at most 64 datagrams, and the next one the rest") {
  udp_pair pair(loop);
  for (int i = 0; i < 70; ++i) send(pair.far, "x", pair.near_address);
  batch<100> into;
  CHECK(pair.near.try_receive_many(into.items)->value() == 64);
  std::size_t rest = 0;
  pair.near.receive_many(into.items, [&](result<std::size_t> n) { rest = n.value(); });
  loop.run();
  CHECK(rest == 6);
  CHECK(!pair.near.try_receive_many(into.items));
}

ASYNC_TEST("send_many sends all, to one address each") {
  udp_pair pair(loop);
  udp_socket third(loop, here);
  std::vector<outgoing_datagram> all;
  for (int i = 0; i < 150; ++i) {
    all.emplace_back(std::string_view("near"), pair.near_address);
    all.emplace_back(std::string_view("third"), third.local_address());
  }
  failing_system system;
  const std::size_t sent = co_await pair.far.send_many(all);
  CHECK(sent == 300);
  CHECK(system.count(call::send_messages) == 5);
  std::size_t near = 0;
  while (take(pair.near) == "near") ++near;
  std::size_t other = 0;
  while (take(third) == "third") ++other;
  CHECK(near == 150);
  CHECK(other == 150);
}

ASYNC_TEST("a send_many of nothing sends nothing") {
  udp_pair pair(loop);
  const std::size_t sent = co_await pair.far.send_many({});
  CHECK(sent == 0);
}

ASYNC_TEST("a send_many that the kernel cuts short sends each datagram once") {
  udp_pair pair(loop);
  std::vector<std::string> words;
  for (int i = 0; i < 40; ++i) words.push_back(std::to_string(i));
  std::vector<outgoing_datagram> all;
  for (const auto& word : words) all.emplace_back(word, pair.near_address);
  failing_system system;
  for (const unsigned most : {1U, 39U}) {
    system.limit_messages(most);
    system.fail(call::send_messages, EINTR, 1);
    const std::size_t sent = co_await pair.far.send_many(all);
    CHECK(sent == 40);
    for (const auto& word : words) CHECK(take(pair.near) == word);
    CHECK(take(pair.near) == "nothing");
  }
  system.limit_messages(7);
  system.fail(call::send_messages, EAGAIN, 3);
  const std::size_t sent = co_await pair.far.send_many(all);
  CHECK(sent == 40);
  for (const auto& word : words) CHECK(take(pair.near) == word);
  CHECK(take(pair.near) == "nothing");
}

ASYNC_TEST("a send_many stops at a refused datagram, and the next one reports the error") {
  udp_pair pair(loop);
  const std::string large(70'000, 'l');
  std::vector<outgoing_datagram> all;
  all.emplace_back(std::string_view("a"), pair.near_address);
  all.emplace_back(std::string_view("b"), pair.near_address);
  all.emplace_back(large, pair.near_address);
  all.emplace_back(std::string_view("c"), pair.near_address);
  const std::size_t sent = co_await pair.far.send_many(all);
  CHECK(sent == 2);
  const auto rest = std::span<const outgoing_datagram>(all).subspan(sent);
  const auto refused = co_await eddy::as_result(pair.far.send_many(rest));
  CHECK(refused.error() == std::errc::message_size);
  const std::size_t last = co_await pair.far.send_many(rest.subspan(1));
  CHECK(last == 1);
  CHECK(take(pair.near) == "a");
  CHECK(take(pair.near) == "b");
  CHECK(take(pair.near) == "c");
  CHECK(take(pair.near) == "nothing");
}

TEST_CASE_FIXTURE(with_loop, "try_send_many returns the number for which the kernel has space") {
  udp_pair pair(loop);
  std::vector<outgoing_datagram> all(10, {std::string_view("x"), pair.near_address});
  failing_system system;
  system.limit_messages(4);
  system.fail(call::send_messages, EAGAIN, 2);
  CHECK(pair.far.try_send_many(all)->value() == 4);
  system.fail(call::send_messages, EAGAIN);
  CHECK(!pair.far.try_send_many(all));
}

TEST_CASE_FIXTURE(with_loop, "a handler gets the number of datagrams that a send_many sent") {
  udp_pair pair(loop);
  const std::vector<outgoing_datagram> all(3, {std::string_view("x"), pair.near_address});
  std::size_t sent = 0;
  pair.far.send_many(all, [&](result<std::size_t> n) { sent = n.value(); });
  CHECK(sent == 0);
  loop.run();
  CHECK(sent == 3);
}

ASYNC_TEST("the kernel cuts one send into datagrams of the segment size") {
  udp_pair pair(loop);
  const outgoing_datagram one(std::string_view("aaaabbbbcc"), pair.near_address, {}, 4);
  co_await pair.far.send(one);
  CHECK(take(pair.near) == "aaaa");
  CHECK(take(pair.near) == "bbbb");
  CHECK(take(pair.near) == "cc");
  outgoing_datagram wrong = one;
  wrong.segment_size = 70'000;
  const auto r = co_await eddy::as_result(pair.far.send(wrong));
  CHECK(r.error() == std::errc::invalid_argument);
  // Together with a source, in a batch.
  const std::vector<outgoing_datagram> all(
      2, {std::string_view("ddddee"), pair.near_address, {.from = here}, 4});
  const std::size_t sent = co_await pair.far.send_many(all);
  CHECK(sent == 2);
  for (const std::string_view part : {"dddd", "ee", "dddd", "ee"}) CHECK(take(pair.near) == part);
}

ASYNC_TEST("with join_datagrams the kernel joins datagrams and tells their size") {
  udp_pair pair(loop, {.join_datagrams = true});
  int on = 0;
  socklen_t size = sizeof on;
  ::getsockopt(pair.near.descriptor(), IPPROTO_UDP, UDP_GRO, &on, &size);
  if (on == 0) co_return;  // this kernel cannot
  const outgoing_datagram one(std::string_view("aaaabbbbcc"), pair.near_address, {}, 4);
  co_await pair.far.send(one);
  std::array<char, 64> buffer;
  const datagram joined = co_await pair.near.receive(buffer);
  CHECK(joined.size == 10);
  CHECK(joined.segment_size == 4);
  co_await pair.far.send(std::string_view("alone"), pair.near_address);
  const datagram alone = co_await pair.near.receive(buffer);
  CHECK(alone.size == 5);
  CHECK(alone.segment_size == 0);
}

// Errors.

ASYNC_TEST("a socket that is not connected is not disturbed by peers that are gone") {
  udp_pair pair(loop);
  const address nobody = deserted(loop);
  for (int i = 0; i < 10; ++i) co_await pair.near.send(std::string_view("x"), nobody);
  co_await pair.far.send(std::string_view("word"), pair.near_address);
  const std::string got = co_await receive_text(pair.near);
  CHECK(got == "word");
  CHECK(!pair.near.last_icmp());
}

ASYNC_TEST("a connected socket reports that no socket has the port") {
  udp_socket client = udp_socket::connected(loop, deserted(loop));
  co_await client.send(std::string_view("x"));
  const std::error_code error = co_await receive_error(client);
  CHECK(error == std::errc::connection_refused);
  CHECK(!client.last_icmp());
}

ASYNC_TEST("with icmp_errors a receive fails once for each unreachable peer and says which") {
  for (const bool v6 : {false, true}) {
    udp_socket server(loop, v6 ? here_v6 : here, {.icmp_errors = true});
    udp_socket friendly(loop, v6 ? here_v6 : here);
    const address one = deserted(loop, v6);
    const address two = one.with_port(static_cast<std::uint16_t>(one.port() ^ 1U));
    co_await server.send(std::string_view("x"), one);
    const std::error_code first = co_await receive_error(server);
    CHECK(first == std::errc::connection_refused);
    REQUIRE(server.last_icmp().has_value());
    CHECK(server.last_icmp()->unreachable == one);
    CHECK(server.last_icmp()->error == std::errc::connection_refused);
    CHECK(server.last_icmp()->reporter.is_loopback());
    CHECK(server.last_icmp()->v6 == v6);
    CHECK(server.last_icmp()->type == (v6 ? 1 : 3));
    CHECK(server.last_icmp()->code == (v6 ? 4 : 3));
    static_cast<void>(two);
    co_await friendly.send(std::string_view("word"), server.local_address());
    const std::string got = co_await receive_text(server);
    CHECK(got == "word");
    CHECK(!server.last_icmp());
  }
}

ASYNC_TEST("with icmp_errors no send fails because of another peer") {
  udp_pair pair(loop, {.icmp_errors = true});
  const address nobody = deserted(loop);
  constexpr int count = 5;
  for (int i = 0; i < count; ++i) {
    co_await pair.near.send(std::string_view("x"), nobody);
    co_await pair.near.send(std::string_view("y"), pair.far_address);
  }
  for (int i = 0; i < count; ++i) CHECK(take(pair.far) == "y");
  const std::vector<outgoing_datagram> all{{std::string_view("x"), nobody},
                                           {std::string_view("z"), pair.far_address},
                                           {std::string_view("x"), nobody},
                                           {std::string_view("z"), pair.far_address}};
  const std::size_t sent = co_await pair.near.send_many(all);
  CHECK(sent == 4);
  CHECK(take(pair.far) == "z");
  CHECK(take(pair.far) == "z");
  int errors = 0;
  std::array<char, 16> buffer;
  for (;;) {
    const auto r = pair.near.try_receive(buffer);
    if (!r) break;
    CHECK(r->error() == std::errc::connection_refused);
    CHECK(pair.near.last_icmp()->unreachable == nobody);
    ++errors;
  }
  CHECK(errors == count + 2);
}

ASYNC_TEST("with icmp_errors a local error is told apart from one of ICMP") {
  udp_pair pair(loop, {.icmp_errors = true});
  const std::string large(70'000, 'l');
  const auto r = co_await eddy::as_result(pair.near.send(large, pair.far_address));
  CHECK(r.error() == std::errc::message_size);
  co_await pair.far.send(std::string_view("word"), pair.near_address);
  const std::string got = co_await receive_text(pair.near);
  CHECK(got == "word");
  failing_system system;
  system.fail(call::receive_message, ENOMEM);
  const std::error_code error = co_await receive_error(pair.near);
  CHECK(error == std::errc::not_enough_memory);
  CHECK(!pair.near.last_icmp());
}

TEST_CASE_FIXTURE(with_loop, "a pending receive is woken by an ICMP error and then sleeps") {
  udp_pair pair(loop, {.icmp_errors = true});
  const address nobody = deserted(loop);
  auto reading = eddy::spawn(loop, receive_error(pair.near));
  while (loop.run_ready()) {
  }
  CHECK(!reading.ready());
  send(pair.near, "x", nobody);
  loop.run();
  CHECK(std::move(reading).take().value() == std::errc::connection_refused);
  auto again = eddy::spawn(loop, receive_text(pair.near));
  int turns = 0;
  while (turns < 20 && loop.run_ready()) ++turns;
  CHECK(turns < 20);
  CHECK(!again.ready());
  send(pair.far, "word", pair.near_address);
  loop.run();
  CHECK(std::move(again).take().value() == "word");
}

TEST_CASE_FIXTURE(with_loop, "with icmp_errors a local error is not reported again by a receive") {
  udp_socket server(loop, here_v6, {.icmp_errors = true});
  udp_socket peer(loop, here_v6);
  const int on = 1;
  REQUIRE(::setsockopt(server.descriptor(), IPPROTO_IPV6, IPV6_DONTFRAG, &on, sizeof on) == 0);
  const std::string large(65'520, 'l');  // a packet larger than those of the loopback interface
  const auto r = server.try_send(large, peer.local_address());
  REQUIRE(r.has_value());
  CHECK(r->error() == std::errc::message_size);
  std::array<char, 16> buffer;
  CHECK(!server.try_receive(buffer));
  CHECK(!server.last_icmp());
}

ASYNC_TEST("with icmp_errors a connected socket has the details, too") {
  const address nobody = deserted(loop);
  udp_socket client = udp_socket::connected(loop, nobody, {.icmp_errors = true});
  for (int i = 0; i < 2; ++i) {
    co_await client.send(std::string_view("x"));
    const std::error_code error = co_await receive_error(client);
    CHECK(error == std::errc::connection_refused);
    REQUIRE(client.last_icmp().has_value());
    CHECK(client.last_icmp()->unreachable == nobody);
  }
}

TEST_CASE_FIXTURE(with_loop, "wait_readable loses no ICMP error after a spurious wake-up") {
  udp_pair pair(loop, {.icmp_errors = true});
  const address nobody = deserted(loop);
  std::array<char, 16> buffer;
  int woken = 0;
  const auto wait = [&] {
    pair.near.wait_readable([&](const result<void>&) { ++woken; });
    loop.run();
  };
  send(pair.far, "stolen", pair.near_address);
  wait();
  REQUIRE(::recv(pair.near.descriptor(), buffer.data(), buffer.size(), MSG_DONTWAIT) == 6);
  CHECK(!pair.near.try_receive(buffer));  // as after a datagram with a wrong checksum
  send(pair.near, "x", nobody);
  wait();
  CHECK(woken == 2);
  CHECK(pair.near.try_receive(buffer)->error() == std::errc::connection_refused);
  CHECK(pair.near.last_icmp()->unreachable == nobody);
}

ASYNC_TEST("a socket at [::] tells ICMP errors of IPv4") {
  udp_socket both(loop, address::any_v6(0), {.icmp_errors = true});
  const address nobody = deserted(loop);
  co_await both.send(std::string_view("x"), nobody);
  const std::error_code error = co_await receive_error(both);
  CHECK(error == std::errc::connection_refused);
  REQUIRE(both.last_icmp().has_value());
  CHECK(!both.last_icmp()->v6);
  CHECK(both.last_icmp()->unreachable.port() == nobody.port());
}

ASYNC_TEST("receive_many reports ICMP errors as receive does") {
  udp_pair pair(loop, {.icmp_errors = true});
  const address nobody = deserted(loop);
  co_await pair.near.send(std::string_view("x"), nobody);
  batch<2> into;
  const auto r = co_await eddy::as_result(pair.near.receive_many(into.items));
  CHECK(r.error() == std::errc::connection_refused);
  CHECK(pair.near.last_icmp()->unreachable == nobody);
}

ASYNC_TEST("an exception says what was done and to whom") {
  udp_pair pair(loop, {.icmp_errors = true});
  const address nobody = deserted(loop);
  co_await pair.near.send(std::string_view("x"), nobody);
  const auto words = [](auto operation) -> eddy::task<std::string> {
    std::string said;
    try {
      co_await std::move(operation);
    } catch (const std::system_error& e) {
      said = e.what();
    }
    co_return said;
  };
  std::array<char, 16> buffer;
  const std::string receive = co_await words(pair.near.receive(buffer));
  CHECK(receive == "receive at " + pair.near_address.to_string() + ": " + nobody.to_string() +
                       " is unreachable (ICMP type 3, code 3, from 127.0.0.1): Connection refused");
  const std::string large(70'000, 'l');
  const std::string send = co_await words(pair.near.send(large, pair.far_address));
  CHECK(send == "send to " + pair.far_address.to_string() + ": Message too long");
  const std::vector<outgoing_datagram> all{{large, pair.far_address}};
  const std::string many = co_await words(pair.near.send_many(all));
  CHECK(many == send);
  udp_socket client = udp_socket::connected(loop, nobody);
  co_await client.send(std::string_view("x"));
  const std::string from = co_await words(client.receive(buffer));
  CHECK(from == "receive from " + nobody.to_string() + ": Connection refused");
}

TEST_CASE_FIXTURE(with_loop, "a dump names a pending receive") {
  udp_pair pair(loop);
  auto reading = eddy::spawn(loop, receive_text(pair.near));
  loop.run_ready();
  CHECK(loop.dump().find("receive at " + pair.near_address.to_string()) != std::string::npos);
}

// Every call fails with every errno.

ASYNC_TEST("each error of a receive is a value, and the next receive works") {
  udp_pair pair(loop);
  failing_system system;
  for (const int error : {EBADF, ECONNREFUSED, EFAULT, EINVAL, ENOMEM, ENOTCONN, ENOTSOCK, EIO,
                          ENETDOWN, EHOSTUNREACH}) {
    CAPTURE(error);
    co_await pair.far.send(std::string_view("word"), pair.near_address);
    system.fail(call::receive_message, error);
    const std::error_code e = co_await receive_error(pair.near);
    CHECK(e.value() == error);
    system.fail(call::receive_messages, error);
    batch<2> into;
    const auto many = co_await eddy::as_result(pair.near.receive_many(into.items));
    CHECK(many.error().value() == error);
    const std::string got = co_await receive_text(pair.near);
    CHECK(got == "word");
  }
}

ASYNC_TEST("each error of a send is a value, and the next send works") {
  udp_pair pair(loop);
  failing_system system;
  const std::vector<outgoing_datagram> all{{std::string_view("word"), pair.near_address}};
  for (const int error : {EACCES, EBADF, ECONNREFUSED, ECONNRESET, EDESTADDRREQ, EFAULT, EINVAL,
                          EISCONN, EMSGSIZE, ENOBUFS, ENOMEM, ENOTCONN, ENOTSOCK, EOPNOTSUPP, EPIPE,
                          EPERM, ENETUNREACH, EHOSTUNREACH, EIO}) {
    CAPTURE(error);
    system.fail(call::send_message, error);
    const auto one =
        co_await eddy::as_result(pair.far.send(std::string_view("word"), pair.near_address));
    CHECK(one.error().value() == error);
    system.fail(call::send_messages, error);
    const auto many = co_await eddy::as_result(pair.far.send_many(all));
    CHECK(many.error().value() == error);
    CHECK(take(pair.near) == "nothing");
    co_await pair.far.send(std::string_view("word"), pair.near_address);
    CHECK(take(pair.near) == "word");
  }
}

ASYNC_TEST("EINTR and EAGAIN lose and double nothing") {
  udp_pair pair(loop);
  failing_system system;
  const std::vector<outgoing_datagram> all{{std::string_view("many"), pair.near_address}};
  for (const int error : {EINTR, EAGAIN}) {
    for (const call kind :
         {call::send_message, call::send_messages, call::receive_message, call::receive_messages}) {
      system.fail(kind, error);
      co_await pair.far.send(std::string_view("one"), pair.near_address);
      const std::size_t sent = co_await pair.far.send_many(all);
      CHECK(sent == 1);
      const std::string got = co_await receive_text(pair.near);
      CHECK(got == "one");
      batch<2> into;
      const std::size_t count = co_await pair.near.receive_many(into.items);
      CHECK(count == 1);
      CHECK(into.text(0) == "many");
      CHECK(take(pair.near) == "nothing");
      system.stop_failing(kind);
    }
  }
}

ASYNC_TEST("a receive_many that the kernel cuts short returns the rest later") {
  udp_pair pair(loop);
  failing_system system;
  for (const unsigned most : {1U, 3U}) {
    system.limit_messages(most);
    for (const std::string_view word : {"a", "b", "c", "d"}) {
      co_await pair.far.send(word, pair.near_address);
    }
    std::string all;
    while (all.size() < 4) {
      batch<4> into;
      const std::size_t count = co_await pair.near.receive_many(into.items);
      CHECK(count <= most);
      for (std::size_t i = 0; i < count; ++i) all += into.text(i);
    }
    CHECK(all == "abcd");
  }
}

namespace {

/// A server that answers each datagram, until its client has said "end".
eddy::task<> answer_all(udp_socket& server) {
  batch<4> into;
  bool ended = false;
  while (!ended) {
    const auto count = co_await eddy::as_result(server.receive_many(into.items));
    std::vector<outgoing_datagram> answers;
    for (std::size_t i = 0; i < count.value_or(0); ++i) {
      const std::string_view text(into.bytes[i].data(), into.items[i].received.size);
      ended = ended || text == "end";
      answers.emplace_back(text, into.items[i].received.from);
    }
    std::span<const outgoing_datagram> left(answers);
    while (!left.empty()) {
      const auto sent = co_await eddy::as_result(server.send_many(left));
      left = left.subspan(sent ? *sent : 0);  // tries a refused one again
    }
  }
}

/// Asks until an answer comes, and checks that none comes twice.
eddy::task<> ask(udp_socket& client, std::string_view question) {
  for (;;) {
    const auto sent = co_await eddy::as_result(client.send(question));
    if (sent) break;
  }
  std::array<char, 64> buffer;
  for (;;) {
    const auto d = co_await eddy::as_result(client.receive(buffer));
    if (!d) continue;
    CHECK(std::string_view(buffer.data(), d->size) == question);
    co_return;
  }
}

eddy::task<> ask_all(udp_socket& client) {
  for (const std::string_view question : {"one", "two", "", "end"}) {
    co_await ask(client, question);
  }
}

}  // namespace

TEST_CASE_FIXTURE(with_loop, "whichever call fails, each question has one answer") {
  std::size_t faults = 0;
  for (const bool icmp : {false, true}) {
    for (const int error : {EINTR, EAGAIN, ENOBUFS, ENOMEM, ECONNREFUSED, EPERM, EHOSTUNREACH,
                            ENETUNREACH, EMSGSIZE, EIO, EINVAL}) {
      for (std::size_t k = 1;; ++k) {
        udp_socket server(loop, here, {.icmp_errors = icmp});
        udp_socket client =
            udp_socket::connected(loop, server.local_address(), {.icmp_errors = icmp});
        failing_system system;
        system.fail_any(error, k);
        auto both = eddy::spawn(loop, eddy::join(answer_all(server), ask_all(client)));
        loop.run();
        CAPTURE(error);
        CAPTURE(k);
        REQUIRE(both.ready());
        if (!system.has_failed()) break;
        ++faults;
        CHECK(take(client) == "nothing");
        udp_socket fresh = udp_socket::connected(loop, server.local_address());
        send(fresh, "x");
        CHECK(take(server) == "x");
      }
    }
  }
  CHECK(faults > 200);
  MESSAGE(faults, " faults");
}

TEST_CASE_FIXTURE(with_loop, "making a socket fails with the error of any of its calls") {
  const udp_socket peer(loop, here);
  const eddy::socket_options how{.reuse_address = true,
                                 .reuse_port = true,
                                 .local = here,
                                 .send_buffer = 65536,
                                 .receive_buffer = 65536,
                                 .broadcast = true,
                                 .destination = true,
                                 .icmp_errors = true,
                                 .join_datagrams = true};
  const auto fails_at_each_call = [&](auto make) {
    std::size_t calls = 0;
    {
      const failing_system system;
      make();
      calls = system.total() - 1;  // the last call closes the socket
    }
    CHECK(calls > 8);
    for (const int error : {EACCES, EMFILE, ENOBUFS, EPERM, EINVAL}) {
      for (std::size_t k = 1; k <= calls; ++k) {
        failing_system system;
        system.fail_any(error, k);
        CAPTURE(k);
        CHECK(code_from(make).value() == error);
      }
    }
  };
  fails_at_each_call([&] { const udp_socket s(loop, here, how); });
  fails_at_each_call([&] { const udp_socket s(loop, here_v6, how); });
  fails_at_each_call([&] { udp_socket::connected(loop, peer.local_address(), how).close(); });
}

TEST_CASE_FIXTURE(with_loop, "a kernel that cannot join datagrams is no error") {
  failing_system system;
  system.fail(call::set_option, ENOPROTOOPT);
  const udp_socket socket(loop, here, {.join_datagrams = true});
  CHECK(socket.open());
  CHECK(system.has_failed());
}

TEST_CASE_FIXTURE(with_loop, "an error names the address and the option") {
  const auto bind = [&](const address& at, const eddy::socket_options& how) {
    return words_from([&] { const udp_socket s(loop, at, how); });
  };
  const std::string unused = bind(here, {.device = "no-such-device"});
  CHECK(unused == "bind a UDP socket to 127.0.0.1:0, option device: No such device");
  CHECK(bind(address(), {}) == "bind a UDP socket to nowhere: Invalid argument");
  const udp_socket first(loop, here);
  const std::string taken = first.local_address().to_string();
  CHECK(bind(first.local_address(), {}) ==
        "bind a UDP socket to " + taken + ": Address already in use");
  failing_system system;
  system.fail(call::connect, ENETUNREACH);
  CHECK(words_from([&] { udp_socket::connected(loop, first.local_address()).close(); }) ==
        "connect a UDP socket to " + taken + ": Network is unreachable");
}

// Options.

TEST_CASE_FIXTURE(with_loop, "options that were set before bind can be read afterwards") {
  udp_socket socket(loop, here,
                    {.reuse_port = true,
                     .device = "lo",
                     .freebind = true,
                     .send_buffer = 50'000,
                     .receive_buffer = 60'000,
                     .broadcast = true});
  namespace option = eddy::option;
  CHECK(socket.get(option::reuse_port));
  CHECK(!socket.get(option::reuse_address));
  CHECK(socket.get(option::device) == "lo");
  CHECK(socket.get(option::freebind));
  CHECK(socket.get(option::send_buffer) == 100'000);
  CHECK(socket.get(option::receive_buffer) == 120'000);
  CHECK(socket.get(option::broadcast));
  socket.set(option::broadcast, false);
  CHECK(!socket.get(option::broadcast));
  socket.set(option::device, "");
  CHECK(socket.get(option::device).empty());
  CHECK(words_from([&] {
          socket.set(option::user_timeout, 1s);
        }).starts_with("setting the option user_timeout: "));
}

TEST_CASE_FIXTURE(with_loop, "two sockets share a port if both have reuse_port") {
  const udp_socket first(loop, here, {.reuse_port = true});
  const udp_socket second(loop, first.local_address(), {.reuse_port = true});
  CHECK(second.local_address() == first.local_address());
}

TEST_CASE_FIXTURE(with_loop, "a connected socket starts from the local address of its options") {
  const udp_socket peer(loop, here);
  const address local(bytes{127, 0, 0, 3}, 0);
  const udp_socket client = udp_socket::connected(loop, peer.local_address(), {.local = local});
  CHECK(client.local_address().host() == "127.0.0.3");
}

ASYNC_TEST("a broadcast needs the option broadcast") {
  udp_socket socket(loop, address::any_v4(0));
  const address everybody(bytes{127, 255, 255, 255}, socket.local_address().port());
  const auto refused = co_await eddy::as_result(socket.send(std::string_view("x"), everybody));
  CHECK(refused.error() == std::errc::permission_denied);
  socket.set(eddy::option::broadcast, true);
  co_await socket.send(std::string_view("x"), everybody);
  const std::string got = co_await receive_text(socket);
  CHECK(got == "x");
}

// Multicast.

ASYNC_TEST("a joined group's datagrams arrive until the group is left") {
  const address group(bytes{239, 255, 1, 2}, 0);
  udp_socket member(loop, address::any_v4(0), {.destination = true});
  udp_socket sender(loop, address::any_v4(0));
  const address to = group.with_port(member.local_address().port());
  sender.set_multicast_interface(loopback_interface);
  sender.set_multicast_hops(1);
  member.join(group, loopback_interface);
  co_await sender.send(std::string_view("hello"), to);
  std::array<char, 64> buffer;
  const datagram d = co_await member.receive(buffer);
  CHECK(d.size == 5);
  CHECK(d.to == to);
  CHECK(d.interface == loopback_interface);
  CHECK(words_from([&] { member.join(group, loopback_interface); }) ==
        "join 239.255.1.2: Address already in use");
  member.leave(group, loopback_interface);
  co_await sender.send(std::string_view("late"), to);
  CHECK(take(member) == "nothing");
  CHECK(!words_from([&] { member.leave(group, loopback_interface); }).empty());
  CHECK(code_from([&] { member.join(address()); }) == std::errc::invalid_argument);
}

ASYNC_TEST("a socket that has joined a group gets no group of other sockets") {
  const address joined(bytes{239, 255, 1, 3}, 0);
  const address strange(bytes{239, 255, 1, 4}, 0);
  udp_socket member(loop, address::any_v4(0));
  udp_socket both(loop, address::any_v6(0));
  udp_socket other(loop, address::any_v4(0));
  other.join(joined, loopback_interface);
  other.join(strange, loopback_interface);
  member.join(joined, loopback_interface);
  both.join(joined, loopback_interface);
  other.set_multicast_interface(loopback_interface);
  for (udp_socket* to : {&member, &both}) {
    const std::uint16_t port = to->local_address().port();
    co_await other.send(std::string_view("strange"), strange.with_port(port));
    co_await other.send(std::string_view("joined"), joined.with_port(port));
    const std::string first = co_await receive_text(*to);
    CHECK(first == "joined");
    to->leave(joined, loopback_interface);
    co_await other.send(std::string_view("left"), joined.with_port(port));
    CHECK(take(*to) == "nothing");
  }
}

ASYNC_TEST("a group can be joined for one source only") {
  const address group(bytes{232, 1, 2, 3}, 0);
  const address wanted(bytes{127, 0, 0, 4}, 0);
  udp_socket member(loop, address::any_v4(0));
  const address to = group.with_port(member.local_address().port());
  member.join_source(group, wanted, loopback_interface);
  udp_socket heard(loop, wanted);
  udp_socket unheard(loop, address(bytes{127, 0, 0, 5}, 0));
  heard.set_multicast_interface(loopback_interface);
  unheard.set_multicast_interface(loopback_interface);
  co_await unheard.send(std::string_view("unheard"), to);
  co_await heard.send(std::string_view("heard"), to);
  const std::string got = co_await receive_text(member);
  CHECK(got == "heard");
  member.leave_source(group, wanted, loopback_interface);
  co_await heard.send(std::string_view("late"), to);
  CHECK(take(member) == "nothing");
  CHECK(words_from([&] {
          member.leave_source(group, wanted, loopback_interface);
        }).starts_with("leave 232.1.2.3 for the source 127.0.0.4: "));
}

TEST_CASE_FIXTURE(with_loop, "multicast works with IPv6, and other sockets' groups are not heard") {
  const auto group = address::parse("ff01::1234", 0);
  const auto strange = address::parse("ff01::1235", 0);
  udp_socket member(loop, address::any_v6(0), {.destination = true});
  udp_socket sender(loop, address::any_v6(0));
  const std::uint16_t port = member.local_address().port();
  const address to = group->with_port(port);
  sender.set_multicast_hops(0);  // nothing leaves the machine
  // Not every interface has a route for multicast.
  struct if_nameindex* const interfaces = ::if_nameindex();
  REQUIRE(interfaces != nullptr);
  for (const auto* at = interfaces; at->if_index != 0; ++at) {
    sender.set_multicast_interface(at->if_index);
    member.join(*group, at->if_index);
    sender.join(*strange, at->if_index);
    const bool routed =
        sender.try_send(std::string_view("strange"), strange->with_port(port))->has_value();
    const auto sent = sender.try_send(std::string_view("hello"), to);
    REQUIRE(sent.has_value());
    CHECK(sent->has_value() == routed);
    if (*sent) {
      REQUIRE(arrives_at(member));
      std::array<char, 64> buffer;
      const auto d = member.try_receive(buffer);
      CHECK((*d)->size == 5);
      CHECK((*d)->to.host().starts_with("ff01::1234"));
    }
    member.leave(*group, at->if_index);
    sender.leave(*strange, at->if_index);
  }
  ::if_freenameindex(interfaces);
}

TEST_CASE_FIXTURE(with_loop, "multicast loop is set for both families of a socket at [::]") {
  udp_socket both(loop, address::any_v6(0));
  const auto value = [&](int level, int option) {
    int number = 0;
    socklen_t size = sizeof number;
    ::getsockopt(both.descriptor(), level, option, &number, &size);
    return number;
  };
  for (const bool on : {false, true}) {
    both.set_multicast_loop(on);
    CHECK(value(IPPROTO_IP, IP_MULTICAST_LOOP) == int{on});
    CHECK(value(IPPROTO_IPV6, IPV6_MULTICAST_LOOP) == int{on});
  }
}

TEST_CASE_FIXTURE(with_loop, "hops are set for both families of a socket at [::]") {
  udp_socket both(loop, address::any_v6(0));
  both.set_hops(7);
  both.set_multicast_hops(3);
  const auto value = [&](int level, int option) {
    int number = 0;
    socklen_t size = sizeof number;
    ::getsockopt(both.descriptor(), level, option, &number, &size);
    return number;
  };
  CHECK(value(IPPROTO_IP, IP_TTL) == 7);
  CHECK(value(IPPROTO_IPV6, IPV6_UNICAST_HOPS) == 7);
  CHECK(value(IPPROTO_IP, IP_MULTICAST_TTL) == 3);
  CHECK(value(IPPROTO_IPV6, IPV6_MULTICAST_HOPS) == 3);
  CHECK(code_from([&] { both.set_hops(-1); }) == std::errc::invalid_argument);
  CHECK(code_from([&] { both.set_hops(256); }) == std::errc::invalid_argument);
}

// Ownership.

TEST_CASE_FIXTURE(with_loop, "a UDP socket that was made elsewhere is taken over") {
  const int number = ::socket(AF_INET, SOCK_DGRAM, 0);
  const int on = 1;
  ::setsockopt(number, IPPROTO_IP, IP_RECVERR, &on, sizeof on);
  sockaddr_storage name;
  const socklen_t size = here.to(name);
  REQUIRE(::bind(number, reinterpret_cast<const sockaddr*>(&name), size) == 0);
  udp_socket socket(loop, number);
  CHECK((::fcntl(number, F_GETFL) & O_NONBLOCK) != 0);
  CHECK((::fcntl(number, F_GETFD) & FD_CLOEXEC) != 0);
  CHECK(socket.peer_address() == address());
  send(socket, "x", deserted(loop));
  REQUIRE(arrives_at(socket));
  std::array<char, 16> buffer;
  CHECK(socket.try_receive(buffer)->error() == std::errc::connection_refused);
  CHECK(socket.last_icmp().has_value());

  udp_socket client = udp_socket::connected(loop, socket.local_address());
  const address peer = client.peer_address();
  udp_socket again(loop, client.release());
  CHECK(!client.open());
  CHECK(again.peer_address() == peer);
}

TEST_CASE_FIXTURE(with_loop, "a descriptor of another kind of socket is refused and closed") {
  const auto refusal = [&](int number) {
    const std::error_code error = code_from([&] { const udp_socket s(loop, number); });
    CHECK(::fcntl(number, F_GETFD) < 0);
    return error;
  };
  CHECK(refusal(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) ==
        std::errc::wrong_protocol_type);
  CHECK(refusal(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) == std::errc::wrong_protocol_type);
  const int stream = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_storage name;
  const socklen_t size = address::loopback_v4(9).to(name);
  REQUIRE(::connect(stream, reinterpret_cast<const sockaddr*>(&name), size) == 0);
  CHECK(code_from([&] { const eddy::tcp_stream s(loop, stream); }) ==
        std::errc::wrong_protocol_type);
  CHECK(code_from([&] {
          const eddy::tcp_listener l(loop, ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        }) == std::errc::invalid_argument);
  CHECK(refusal(::open("/dev/null", O_RDONLY | O_CLOEXEC)) == std::errc::not_a_socket);
  CHECK(code_from([&] { const udp_socket s(loop, -1); }) == std::errc::bad_file_descriptor);
}

TEST_CASE_FIXTURE(with_loop, "taking over a socket fails with the error of any of its calls") {
  std::size_t calls = 0;
  const auto take_over = [&] {
    const udp_socket s(loop, ::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  };
  {
    const failing_system system;
    take_over();
    calls = system.total() - 1;
  }
  for (std::size_t k = 1; k <= calls; ++k) {
    failing_system system;
    system.fail_any(ENOBUFS, k);
    CHECK(code_from(take_over).value() == ENOBUFS);
  }
}

TEST_CASE_FIXTURE(with_loop, "release gives the descriptor to the caller and cancels operations") {
  udp_pair pair(loop);
  auto reading = eddy::spawn(loop, receive_error(pair.near));
  loop.run_ready();
  const int number = pair.near.release();
  CHECK(!pair.near.open());
  loop.run();
  CHECK(std::move(reading).take().value() == std::errc::operation_canceled);
  CHECK(::fcntl(number, F_GETFD) == FD_CLOEXEC);
  ::close(number);
}

TEST_CASE_FIXTURE(with_loop, "closing a socket destroys its handlers and resumes its coroutines") {
  udp_pair pair(loop);
  std::array<char, 16> buffer;
  bool called = false;
  const auto alive = std::make_shared<int>();
  pair.near.receive(buffer, [&called, alive](const result<datagram>&) { called = true; });
  auto reading = eddy::spawn(loop, receive_error(pair.far));
  loop.run_ready();
  CHECK(alive.use_count() == 2);
  pair.near.close();
  pair.far.close();
  CHECK(alive.use_count() == 1);
  loop.run();
  CHECK(!called);
  CHECK(std::move(reading).take().value() == std::errc::operation_canceled);
}

TEST_CASE_FIXTURE(with_loop, "stop_receiving and stop_sending cancel the pending operation") {
  udp_pair pair(loop);
  auto reading = eddy::spawn(loop, receive_error(pair.near));
  loop.run_ready();
  pair.near.stop_receiving();
  loop.run();
  CHECK(std::move(reading).take().value() == std::errc::operation_canceled);
  failing_system system;
  system.fail(call::send_message, EAGAIN, 1, true);
  bool called = false;
  const std::string_view text = "x";
  pair.near.send(text, pair.far_address, [&](result<void>) { called = true; });
  loop.run_ready();
  pair.near.stop_sending();
  loop.run();
  CHECK(!called);
}

TEST_CASE_FIXTURE(with_loop, "a socket may be moved while a receive is pending") {
  udp_pair pair(loop);
  auto reading = eddy::spawn(loop, receive_text(pair.near));
  loop.run_ready();
  udp_socket moved = std::move(pair.near);
  send(pair.far, "word", moved.local_address());
  loop.run();
  CHECK(std::move(reading).take().value() == "word");
}

TEST_CASE_FIXTURE(with_loop, "wait_readable and wait_writable complete without moving a datagram") {
  udp_pair pair(loop);
  int ready = 0;
  pair.near.wait_writable([&](result<void> r) { ready += r ? 1 : 0; });
  pair.near.wait_readable([&](result<void> r) { ready += r ? 10 : 0; });
  while (loop.run_ready()) {
  }
  CHECK(ready == 1);
  send(pair.far, "word", pair.near_address);
  loop.run();
  CHECK(ready == 11);
  CHECK(take(pair.near) == "word");
}

TEST_CASE_FIXTURE(with_loop, "a steady exchange of datagrams allocates nothing") {
  using eddy::detail::failing_allocations;
  udp_pair pair(loop);
  batch<4> into;
  const std::array<outgoing_datagram, 2> all{
      outgoing_datagram(std::string_view("a"), pair.near_address),
      outgoing_datagram(std::string_view("b"), pair.near_address)};
  std::size_t rounds = 0;
  std::size_t received = 0;
  std::optional<failing_allocations> no_memory;
  std::function<void()> receive = [&] {
    pair.near.receive_many(into.items, [&](result<std::size_t> n) {
      received += n.value();
      receive();
    });
  };
  std::function<void()> send = [&] {
    pair.far.send_many(all, [&](result<std::size_t> n) {
      CHECK(n.value() == 2);
      if (++rounds == 10) no_memory.emplace(0, failing_allocations::times::for_good);
      if (rounds < 100) send();
    });
  };
  receive();
  send();
  while (received < 200) loop.run_once();
  no_memory.reset();
  pair.near.stop_receiving();
  CHECK(rounds == 100);
}

TEST_CASE("misuse of a udp_socket aborts the program with a sentence") {
  dies_saying("a udp_socket was used that is not open", [] {
    udp_socket none;
    std::array<char, 4> buffer;
    static_cast<void>(none.try_receive(buffer));
  });
  dies_saying("a receive is already pending on this udp_socket", [] {
    eddy::event_loop loop;
    udp_socket s(loop, here);
    std::array<char, 4> buffer;
    s.receive(buffer, [](const result<datagram>&) {});
    s.receive(buffer, [](const result<datagram>&) {});
  });
  dies_saying("a send is already pending on this udp_socket", [] {
    eddy::event_loop loop;
    udp_socket s(loop, here);
    s.wait_writable([](const result<void>&) {});
    static_cast<void>(s.try_send(std::string_view("x"), s.local_address()));
  });
  dies_saying("a receive_many into an empty array", [] {
    eddy::event_loop loop;
    udp_socket s(loop, here);
    static_cast<void>(s.try_receive_many({}));
  });
  dies_saying("udp_socket::receive", [] {
    eddy::event_loop loop;
    udp_socket s(loop, here);
    std::array<char, 4> buffer;
    s.receive(buffer, nullptr);
  });
}
