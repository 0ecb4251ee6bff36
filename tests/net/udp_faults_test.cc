// SPDX-License-Identifier: BSD-2-Clause
// Every system call of UDP sockets, with each of its errors.
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <net/if.h>

#include <eddy/future/join.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/net/address.h>
#include <eddy/net/buffer.h>
#include <eddy/net/datagram.h>
#include <eddy/net/socket_options.h>
#include <eddy/net/udp_socket.h>

#include "support/fault_scenario.h"
#include "support/faults.h"

using namespace std::string_view_literals;
using eddy::address;
using eddy::join;
using eddy::task;
using eddy::timeout;

namespace {

struct sends_datagrams : numbered {
  explicit sends_datagrams(faulty_run& r)
      : numbered(r), connected(r.option(2) != 0), icmp(r.option(2) != 0) {}
  task<> work() {
    received = 0;
    const eddy::socket_options how{.destination = true, .icmp_errors = icmp};
    eddy::udp_socket near(run.loop, address::loopback_v4(0), how);
    const address to = near.local_address();
    eddy::udp_socket far = connected ? eddy::udp_socket::connected(run.loop, to, how)
                                     : eddy::udp_socket(run.loop, address::loopback_v4(0), how);
    auto both = join(send_all(far, connected ? address() : to), receive(near));
    auto limited = timeout(client_patience, std::move(both));
    co_await std::move(limited);
  }
  task<> send_all(eddy::udp_socket& from, address to) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::string message = word(i);
      co_await from.send(message, to);
    }
  }
  task<> receive(eddy::udp_socket& at) {
    message_buffer buffer;
    while (received < count) {
      const eddy::datagram got = co_await at.receive(buffer);
      came(std::string_view(buffer.data(), got.size));
      run.expect(got.to.is_loopback(), "a datagram has no destination");
    }
  }
  static constexpr std::size_t shapes = 12;
  bool connected;
  bool icmp;
};

struct sends_batches : numbered {
  using numbered::numbered;
  task<> work() {
    received = 0;
    eddy::udp_socket near(run.loop, address::loopback_v4(0));
    eddy::udp_socket far(run.loop, address::loopback_v4(0));
    auto both = join(send_all(far, near.local_address()), receive(near));
    auto limited = timeout(client_patience, std::move(both));
    co_await std::move(limited);
  }
  task<> send_all(eddy::udp_socket& from, address to) {
    std::vector<std::string> words(count);
    std::vector<eddy::outgoing_datagram> all;
    for (std::size_t i = 0; i < count; ++i) {
      words[i] = word(i);
      all.emplace_back(eddy::const_buffer(words[i]), to);
    }
    std::span<const eddy::outgoing_datagram> left(all);
    while (!left.empty()) {
      const std::size_t sent = co_await from.send_many(left);
      run.expect(sent > 0 && sent <= left.size(), "a send_many sent a wrong number");
      left = left.subspan(sent);
    }
  }
  task<> receive(eddy::udp_socket& at) {
    std::array<message_buffer, 3> bytes;
    std::array<eddy::incoming_datagram, 3> into{eddy::incoming_datagram(bytes[0]),
                                                eddy::incoming_datagram(bytes[1]),
                                                eddy::incoming_datagram(bytes[2])};
    while (received < count) {
      const std::size_t n = co_await at.receive_many(into);
      for (std::size_t i = 0; i < n; ++i) {
        came(std::string_view(bytes[i].data(), into[i].received.size));
      }
    }
  }
  static constexpr std::size_t shapes = 16;
};

/// Joins a group on the loopback interface, for all sources or for one, and leaves it again.
struct joins_a_group : numbered {
  explicit joins_a_group(faulty_run& r)
      : numbered(r), of_one_source(r.option(2) != 0), at_both(r.option(2) != 0) {}
  task<> work() {
    received = 0;
    const eddy::socket_options how{.destination = true};
    eddy::udp_socket member(run.loop, at_both ? address::any_v6(0) : address::any_v4(0), how);
    eddy::udp_socket sender(run.loop, address::loopback_v4(0));
    const address to = group.with_port(member.local_address().port());
    sender.set_multicast_interface(loopback_interface);
    sender.set_multicast_hops(1);
    sender.set_multicast_loop(true);
    if (of_one_source) {
      member.join_source(group, address::loopback_v4(0), loopback_interface);
    } else {
      member.join(group, loopback_interface);
    }
    auto both = join(send_all(sender, to), receive(member, to));
    auto limited = timeout(client_patience, std::move(both));
    co_await std::move(limited);
    if (of_one_source) {
      member.leave_source(group, address::loopback_v4(0), loopback_interface);
    } else {
      member.leave(group, loopback_interface);
    }
    co_await sender.send("late"sv, to);
    message_buffer buffer;
    const auto late = member.try_receive(buffer);
    run.expect(!late || !*late, "a datagram came from a group that was left");
    if (late && !*late) run.tell(late->error());
  }
  task<> send_all(eddy::udp_socket& from, address to) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::string message = word(i);
      co_await from.send(message, to);
    }
  }
  task<> receive(eddy::udp_socket& at, address to) {
    message_buffer buffer;
    while (received < count) {
      const eddy::datagram got = co_await at.receive(buffer);
      came(std::string_view(buffer.data(), got.size));
      const address mapped = *address::parse("::ffff:" + group.host(), to.port());
      run.expect(got.to == (at_both ? mapped : to), "a datagram has another destination");
      run.expect(got.interface == loopback_interface, "a datagram has another interface");
    }
  }
  static constexpr std::size_t shapes = 8;
  const address group = *address::parse("239.255.1.2", 0);
  const unsigned loopback_interface = ::if_nametoindex("lo");
  bool of_one_source;
  bool at_both;
};

/// Joins an IPv6 group, and sends datagrams to `[::1]`.
struct joins_an_ipv6_group : numbered {
  using numbered::numbered;
  task<> work() {
    received = 0;
    eddy::udp_socket near(run.loop, address::any_v6(0), {.destination = true});
    near.set_multicast_interface(loopback_interface);
    near.set_multicast_hops(0);
    near.set_multicast_loop(false);
    near.set_hops(3);
    near.join(group, loopback_interface);
    const address to = address::loopback_v6(near.local_address().port());
    eddy::udp_socket far = eddy::udp_socket::connected(run.loop, to);
    auto both = join(send_all(far), receive(near, far.local_address()));
    auto limited = timeout(client_patience, std::move(both));
    co_await std::move(limited);
    near.leave(group, loopback_interface);
  }
  task<> send_all(eddy::udp_socket& from) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::string message = word(i);
      co_await from.send(message);
    }
  }
  task<> receive(eddy::udp_socket& at, address from) {
    message_buffer buffer;
    while (received < count) {
      const eddy::datagram got = co_await at.receive(buffer);
      came(std::string_view(buffer.data(), got.size));
      run.expect(got.from == from, "a datagram has another sender");
    }
  }
  static constexpr std::size_t shapes = 4;
  const address group = *address::parse("ff01::1234", 0);
  const unsigned loopback_interface = ::if_nametoindex("lo");
};

}  // namespace

FAULTS_TEST(sends_datagrams, "UDP datagrams survive every fault")
FAULTS_TEST(sends_batches, "batches of UDP datagrams survive every fault")
FAULTS_TEST(joins_a_group, "multicast by IPv4 survives every fault")
FAULTS_TEST(joins_an_ipv6_group, "UDP and multicast groups by IPv6 survive every fault")

FAULTS_TOTAL(4, 18'000, "the scenarios of UDP survive 18,000 faults")
