// SPDX-License-Identifier: BSD-2-Clause
// TCP on a simulated network.
#include <array>
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/net/address.h>
#include <eddy/net/connect.h>
#include <eddy/net/socket_options.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>
#include <eddy/testing/simulated_network.h>

#include "support/async_test.h"
#include "support/simulated_ends.h"
#include "support/stream_tasks.h"
#include "support/thrown.h"
#include "support/tidy.h"

using namespace std::chrono_literals;
using namespace std::string_view_literals;
using eddy::address;
using eddy::as_result;
using eddy::connect;
using eddy::join;
using eddy::simulated_network;
using eddy::tcp_listener;
using eddy::tcp_stream;

ASYNC_TEST("a server and a client talk over simulated TCP, and no descriptor is opened") {
  const simulated_network network(loop);
  const std::size_t before = open_descriptors();
  tcp_listener listener(loop, server_address);
  co_await check_echo(listener, "some words");
  CHECK(open_descriptors() == before);
}

ASYNC_TEST("simulated sockets have the names of their ends") {
  const simulated_network network(loop);
  tcp_listener listener(loop, address::any_v4(0));
  CHECK(listener.local_address().port() != 0);
  two_ends ends;
  const address to = server_address.with_port(listener.local_address().port());
  auto both = join(accept_into(listener, ends.server), connect_into(to, {}, ends.client));
  co_await std::move(both);
  CHECK(ends.client.peer_address() == to);
  CHECK(ends.client.local_address().host() == "10.0.0.1");
  CHECK(ends.server.peer_address() == ends.client.local_address());
  CHECK(ends.server.local_address() == to);
}

ASYNC_TEST("a client has the address of its options, and loopback is at home") {
  const simulated_network network(loop);
  tcp_listener listener(loop, address::any_v4(80));
  two_ends ends;
  auto both = join(accept_into(listener, ends.server),
                   connect_into(server_address, {.local = at("198.51.100.7:0")}, ends.client));
  co_await std::move(both);
  CHECK(ends.server.peer_address().host() == "198.51.100.7");
  two_ends near;
  auto again = join(accept_into(listener, near.server),
                    connect_into(address::loopback_v4(80), {}, near.client));
  co_await std::move(again);
  CHECK(near.server.peer_address().is_loopback());
}

ASYNC_TEST("a listener at [::] takes IPv4, too, unless it is for IPv6 only") {
  const simulated_network network(loop);
  {
    tcp_listener listener(loop, address::any_v6(80));
    two_ends ends;
    auto both =
        join(accept_into(listener, ends.server), connect_into(server_address, {}, ends.client));
    co_await std::move(both);
    CHECK(ends.server.peer_address().is_v6());
    CHECK(ends.server.peer_address().host() == "::ffff:10.0.0.1");
  }
  const tcp_listener listener(loop, address::any_v6(80), {.ipv6_only = true});
  const std::error_code error = co_await connect_error(server_address);
  CHECK(error == std::errc::connection_refused);
}

ASYNC_TEST("a connect to an address without a listener is refused after a round trip") {
  const simulated_network network(loop, {.shortest_delay = 20ms, .longest_delay = 20ms});
  const auto begun = clock.now();
  const std::error_code error = co_await connect_error(server_address);
  CHECK(error == std::errc::connection_refused);
  CHECK(clock.now() - begun == 40ms);
}

ASYNC_TEST("a connect to a silent host times out at the limit, or at the caller's") {
  simulated_network network(loop);
  network.set_host(server_address, simulated_network::host::silent);
  const tcp_listener listener(loop, server_address);
  auto begun = clock.now();
  const std::error_code error = co_await connect_error(server_address);
  CHECK(error == std::errc::timed_out);
  CHECK(clock.now() - begun == 127s);
  begun = clock.now();
  const std::error_code sooner = co_await connect_error(server_address, {.address_limit = 100ms});
  CHECK(sooner == std::errc::timed_out);
  CHECK(clock.now() - begun == 100ms);
}

ASYNC_TEST("the home addresses and the limit of a connect are options") {
  simulated_network network(
      loop,
      {.connect_limit = 3s, .home_v4 = at("203.0.113.5:0"), .home_v6 = at("[2001:db8::5]:0")});
  tcp_listener listener(loop, address::any_v6(80));
  for (const auto& [to, home] : {std::pair(server_address, "::ffff:203.0.113.5"),
                                 std::pair(at("[2001:db8::1]:80"), "2001:db8::5")}) {
    two_ends ends;
    auto both = join(accept_into(listener, ends.server), connect_into(to, {}, ends.client));
    co_await std::move(both);
    CHECK(ends.server.peer_address().host() == home);
  }
  network.set_host(server_address, simulated_network::host::silent);
  const auto begun = clock.now();
  const std::error_code error = co_await connect_error(server_address);
  CHECK(error == std::errc::timed_out);
  CHECK(clock.now() - begun == 3s);
}

ASYNC_TEST("the limit for bytes that cannot be delivered is an option") {
  simulated_network network(loop, {.send_limit = 10s});
  two_ends ends;
  co_await make_ends(loop, ends);
  network.set_host(server_address, simulated_network::host::silent);
  const auto begun = clock.now();
  co_await ends.client.write("lost"sv);
  const std::error_code error = co_await read_error(ends.client);
  CHECK(error == std::errc::timed_out);
  CHECK(clock.now() - begun == 10s);
}

ASYNC_TEST("a connect to an unreachable host fails, until the host is reachable again") {
  simulated_network network(loop);
  tcp_listener listener(loop, server_address);
  network.set_host(server_address, simulated_network::host::unreachable);
  const std::error_code error = co_await connect_error(server_address);
  CHECK(error == std::errc::host_unreachable);
  network.set_host(server_address, simulated_network::host::reachable);
  co_await check_echo(listener, "x");
}

ASYNC_TEST("an address is in use until its listener is closed") {
  const simulated_network network(loop);
  {
    const tcp_listener first(loop, server_address);
    CHECK(code_from([&] { const tcp_listener second(loop, server_address); }) ==
          std::errc::address_in_use);
    CHECK(code_from([&] { const tcp_listener second(loop, address::any_v4(80)); }) ==
          std::errc::address_in_use);
    CHECK(code_from([&] { const tcp_listener second(loop, address::any_v6(80)); }) ==
          std::errc::address_in_use);
    const tcp_listener other(loop, at("192.0.2.2:80"));
  }
  const tcp_listener next(loop, server_address);
  co_return;
}

ASYNC_TEST("listeners with reuse_port share the connections of an address") {
  const simulated_network network(loop);
  std::array<tcp_listener, 2> listeners;
  for (tcp_listener& l : listeners) l = tcp_listener(loop, server_address, {.reuse_port = true});
  std::array<int, 2> accepted{};
  std::vector<tcp_stream> streams(20);
  for (tcp_stream& s : streams) s = co_await connect(server_address);
  co_await eddy::sleep(1s);
  for (std::size_t i = 0; i < 2; ++i) {
    while (auto one = listeners[i].try_accept()) {
      REQUIRE(*one);
      ++accepted[i];
    }
  }
  CHECK(accepted[0] + accepted[1] == 20);
  CHECK(accepted[0] > 2);
  CHECK(accepted[1] > 2);
}

ASYNC_TEST("a full queue of a listener holds further connects up") {
  const simulated_network network(loop);
  tcp_listener listener(loop, server_address, {.backlog = 0});
  const tcp_stream first = co_await connect(server_address);
  auto second = eddy::spawn(loop, connect_error(server_address));
  co_await eddy::sleep(10s);
  CHECK_FALSE(second.ready());
  const tcp_stream taken = co_await listener.accept();
  const std::error_code error = co_await std::move(second);
  CHECK_FALSE(error);
}

ASYNC_TEST("closing a listener resets the connections that it has not accepted") {
  const simulated_network network(loop);
  tcp_listener listener(loop, server_address);
  tcp_stream stream = co_await connect(server_address);
  co_await eddy::sleep(1s);
  listener.close();
  const std::error_code error = co_await read_error(stream);
  CHECK(error == std::errc::connection_reset);
}

ASYNC_TEST("a listener that closes during a handshake resets the connection") {
  const simulated_network network(loop, {.shortest_delay = 10ms, .longest_delay = 10ms});
  tcp_listener listener(loop, server_address);
  tcp_stream stream;
  auto connecting = eddy::spawn(loop, connect_into(server_address, {}, stream));
  co_await eddy::sleep(15ms);  // the SYN has arrived, and its answer has not
  listener.close();
  co_await std::move(connecting);
  const std::error_code error = co_await read_error(stream);
  CHECK(error == std::errc::connection_reset);
  stream.close();
  CHECK(network.open_sockets() == 0);
}

ASYNC_TEST("a connect that is cancelled during the handshake leaves no connection") {
  const simulated_network network(loop, {.shortest_delay = 10ms, .longest_delay = 10ms});
  tcp_listener listener(loop, server_address, {.backlog = 0});
  for (int i = 0; i < 3; ++i) {
    auto connecting = eddy::spawn(loop, connect_error(server_address));
    co_await eddy::sleep(15ms);
    connecting = {};
    co_await eddy::sleep(1s);
    CHECK_FALSE(listener.try_accept());
  }
  const std::error_code error = co_await connect_error(server_address);  // the queue has space
  CHECK_FALSE(error);
}

ASYNC_TEST("a half-closed connection still carries the answer") {
  const simulated_network network(loop);
  two_ends ends;
  co_await make_ends(loop, ends);
  ends.client.shutdown();
  const std::string nothing = co_await read_all(ends.server);
  CHECK(nothing.empty());
  co_await ends.server.write("late answer"sv);
  ends.server.close();
  const std::string answer = co_await read_all(ends.client);
  CHECK(answer == "late answer");
}

ASYNC_TEST("a close with unread bytes, or without linger, resets the connection") {
  const simulated_network network(loop);
  {
    two_ends ends;
    co_await make_ends(loop, ends);
    co_await ends.client.write("unread"sv);
    co_await ends.server.wait_readable();
    ends.server.close();
    const std::error_code error = co_await read_error(ends.client);
    CHECK(error == std::errc::connection_reset);
  }
  two_ends ends;
  co_await make_ends(loop, ends);
  ends.server.set_linger(0s);
  ends.server.close();
  const std::error_code error = co_await read_error(ends.client);
  CHECK(error == std::errc::connection_reset);
}

ASYNC_TEST("a closed socket answers bytes with a reset, and the next write fails") {
  const simulated_network network(loop);
  two_ends ends;
  co_await make_ends(loop, ends);
  ends.server.close();
  co_await eddy::sleep(1s);
  co_await ends.client.write("nobody reads this"sv);
  co_await eddy::sleep(1s);
  const std::string end = co_await read_all(ends.client);  // as in Linux, no error
  CHECK(end.empty());
  const auto again = co_await as_result(ends.client.write("nor this"sv));
  CHECK(again.error() == std::errc::broken_pipe);
}

ASYNC_TEST("bytes that were written before a close still arrive") {
  const simulated_network network(loop);
  two_ends ends;
  co_await make_ends(loop, ends);
  const std::string words(100'000, 'w');
  co_await ends.client.write(words);
  ends.client.close();
  const std::string all = co_await read_all(ends.server);
  CHECK(all == words);
}

ASYNC_TEST("reset_all resets both ends of each connection, also one that waits to be accepted") {
  simulated_network network(loop);
  two_ends ends;
  co_await make_ends(loop, ends);
  tcp_listener listener(loop, server_address);
  tcp_stream waiting = co_await connect(server_address);
  co_await eddy::sleep(1s);
  network.reset_all();
  for (tcp_stream* s : {&ends.client, &ends.server, &waiting}) {
    const std::error_code error = co_await read_error(*s);
    CHECK(error == std::errc::connection_reset);
    const auto sent = co_await as_result(s->write("x"sv));
    CHECK(sent.error() == std::errc::broken_pipe);
  }
  tcp_stream accepted = co_await listener.accept();
  const std::error_code error = co_await read_error(accepted);
  CHECK(error == std::errc::connection_reset);
}

ASYNC_TEST("after a reset, nothing is under way in a partition") {
  simulated_network network(loop);
  two_ends ends;
  co_await make_ends(loop, ends);
  network.partition(at("10.0.0.1:0"), server_address);
  co_await ends.client.write("lost"sv);
  network.reset_all();
  CHECK(loop.count().timers == 0);
}

ASYNC_TEST("take_error takes the error of a reset") {
  simulated_network network(loop);
  two_ends ends;
  co_await make_ends(loop, ends);
  network.reset_all();
  CHECK(ends.client.take_error() == std::errc::connection_reset);
  CHECK_FALSE(ends.client.take_error());
}

ASYNC_TEST("a writer waits when both buffers are full, until the reader has read") {
  const simulated_network network(loop, {.buffer_size = 10'000});
  two_ends ends;
  co_await make_ends(loop, ends);
  std::string many(100'000, 'm');
  const auto first = ends.client.try_write(many);
  REQUIRE(first);
  CHECK(**first == 20'000);
  CHECK_FALSE(ends.client.try_write(many));
  auto writing = eddy::spawn(loop, write_all(ends.client, many));
  co_await eddy::sleep(1h);
  CHECK_FALSE(writing.ready());
  std::string got;
  while (got.size() < 120'000) got += co_await read_some(ends.server);
  co_await std::move(writing);
  CHECK(got == std::string(120'000, 'm'));
}

ASYNC_TEST("a set send buffer has twice its size, and counts") {
  const simulated_network network(loop, {.buffer_size = 10'000});
  two_ends ends;
  co_await make_ends(loop, ends);
  ends.client.set_send_buffer(4000);
  CHECK(ends.client.send_buffer() == 8000);
  CHECK(**ends.client.try_write(std::string(100'000, 'm')) == 18'000);
  CHECK(ends.client.receive_buffer() == 10'000);
  ends.server.set_receive_buffer(1);
  CHECK(ends.server.receive_buffer() == 2304);
}

ASYNC_TEST("options of TCP are kept") {
  const simulated_network network(loop);
  two_ends ends;
  co_await make_ends(loop, ends);
  CHECK_FALSE(ends.client.no_delay());
  ends.client.set_no_delay(true);
  CHECK(ends.client.no_delay());
  ends.client.set_keep_alive(tcp_stream::keep_alive_times());
  CHECK(ends.client.keep_alive());
  ends.client.set(eddy::option::user_timeout, 30s);
  CHECK(ends.client.get(eddy::option::user_timeout) == 30s);
}

ASYNC_TEST("shutdown_read gives the bytes that have arrived, and then the end") {
  const simulated_network network(loop);
  two_ends ends;
  co_await make_ends(loop, ends);
  co_await ends.client.write("before"sv);
  co_await ends.server.wait_readable();
  ends.server.shutdown_read();
  co_await ends.client.write("after"sv);
  co_await eddy::sleep(1s);
  const std::string all = co_await read_all(ends.server);
  CHECK(all == "before");
}
