// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/datagram.h>.
#include <eddy/net/datagram.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/net/udp_socket.h>

#include "support/async_test.h"
#include "support/udp_pair.h"

using namespace std::string_view_literals;
using eddy::address;
using eddy::datagram;
using eddy::icmp_error;
using eddy::incoming_datagram;
using eddy::outgoing_datagram;
using eddy::udp_socket;

ASYNC_TEST("a report has the bytes in the buffer, all bytes sent, and whether some are lost") {
  udp_pair pair(loop);
  for (const std::size_t sent : {0, 1, 5}) {
    for (const std::size_t space : {0, 1, 4, 5, 6}) {
      send(pair.far, "12345"sv.substr(0, sent), pair.near_address);
      std::array<char, 8> buffer;
      const datagram d = co_await pair.near.receive(std::span(buffer).first(space));
      CHECK(d.size == std::min(sent, space));
      CHECK(d.whole_size == sent);
      CHECK(d.truncated == (sent > space));
    }
  }
}

ASYNC_TEST("each incoming_datagram of a batch has a report about its own buffer") {
  udp_pair pair(loop);
  udp_socket third(loop, address::loopback_v4(0));
  send(pair.far, "long", pair.near_address);
  send(third, "abc", pair.near_address);
  std::array<char, 2> small;
  std::array<char, 8> large;
  std::array<incoming_datagram, 3> into{incoming_datagram(small), incoming_datagram(large), {}};
  const std::size_t count = co_await pair.near.receive_many(into);
  REQUIRE(count == 2);
  CHECK(std::string_view(small.data(), into[0].received.size) == "lo");
  CHECK(into[0].received.whole_size == 4);
  CHECK(into[0].received.truncated);
  CHECK(into[0].received.from == pair.far_address);
  CHECK(std::string_view(large.data(), into[1].received.size) == "abc");
  CHECK(!into[1].received.truncated);
  CHECK(into[1].received.from == third.local_address());
  CHECK(into[2].received.from == address());  // nothing has arrived there
}

ASYNC_TEST("every datagram that the kernel cuts from one comes from the source of that one") {
  udp_pair pair(loop);
  udp_socket from_any(loop, address::any_v4(0));
  const address second(address::v4_bytes{127, 0, 0, 2}, 0);
  const outgoing_datagram one("aaaabbbbcc"sv, pair.near_address, {.from = second}, 4);
  co_await from_any.send(one);
  for (const std::string_view part : {"aaaa"sv, "bbbb"sv, "cc"sv}) {
    std::array<char, 16> buffer;
    const datagram d = co_await pair.near.receive(buffer);
    CHECK(std::string_view(buffer.data(), d.size) == part);
    CHECK(d.from == second.with_port(from_any.local_address().port()));
    CHECK(d.segment_size == 0);
  }
}

ASYNC_TEST("one send may be cut into 64 datagrams, up to 65,507 bytes in all") {
  udp_pair pair(loop);
  const std::string much(65'508, 'm');
  const std::string_view most = std::string_view(much).substr(1);
  co_await pair.far.send(outgoing_datagram(most.substr(0, 64), pair.near_address, {}, 1));
  for (int i = 0; i < 64; ++i) CHECK(take(pair.near) == "m");
  CHECK(take(pair.near) == "nothing");
  co_await pair.far.send(outgoing_datagram(most, pair.near_address, {}, 1100));
  std::size_t size = 0;
  for (std::string part = take(pair.near); part != "nothing"; part = take(pair.near)) {
    size += part.size();
  }
  CHECK(size == 65'507);
  const auto r =
      co_await eddy::as_result(pair.far.send(outgoing_datagram(much, pair.near_address, {}, 1100)));
  CHECK(r.error() == std::errc::message_size);
}

ASYNC_TEST("an outgoing_datagram without a receiver goes to the peer of a connected socket") {
  udp_pair pair(loop);
  pair.near.connect(pair.far_address);
  const std::vector<outgoing_datagram> all{{"one"sv}, {"two"sv}};
  const std::size_t sent = co_await pair.near.send_many(all);
  CHECK(sent == 2);
  CHECK(take(pair.far) == "one");
  CHECK(take(pair.far) == "two");
  const auto r = co_await eddy::as_result(pair.far.send(all[0]));
  CHECK(r.error() == std::errc::destination_address_required);
}

ASYNC_TEST("an icmp_error in words names the receiver, the message and its sender") {
  struct family {
    address here;
    bool v6;
    const char* words;
  };
  for (const family& f : {family{address::loopback_v4(0), false,
                                 " is unreachable (ICMP type 3, code 3, from 127.0.0.1)"},
                          family{address::loopback_v6(0), true,
                                 " is unreachable (ICMPv6 type 1, code 4, from ::1)"}}) {
    udp_socket socket(loop, f.here, {.icmp_errors = true});
    const address nobody = deserted(loop, f.v6);
    co_await socket.send("word"sv, nobody);
    std::array<char, 8> buffer;
    const auto r = co_await eddy::as_result(socket.receive(buffer));
    CHECK(r.error() == std::errc::connection_refused);
    REQUIRE(socket.last_icmp().has_value());
    CHECK(socket.last_icmp()->to_string() == nobody.to_string() + f.words);
  }
}

TEST_CASE("an icmp_error in words tells the same type of ICMP and of ICMPv6 apart") {
  icmp_error e;
  e.unreachable = address(address::v4_bytes{192, 0, 2, 1}, 53);
  e.reporter = address(address::v4_bytes{192, 0, 2, 254}, 0);
  e.type = 11;
  e.code = 255;
  CHECK(e.to_string() == "192.0.2.1:53 is unreachable (ICMP type 11, code 255, from 192.0.2.254)");
  e.v6 = true;
  CHECK(e.to_string() ==
        "192.0.2.1:53 is unreachable (ICMPv6 type 11, code 255, from 192.0.2.254)");
}
