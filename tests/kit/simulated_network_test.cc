// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/testing/simulated_network.h>.
#include <eddy/testing/simulated_network.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/join.h>
#include <eddy/future/scope.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/loop/readiness.h>
#include <eddy/net/buffered.h>
#include <eddy/net/connect.h>
#include <eddy/net/copy.h>
#include <eddy/net/detail/dns_query.h>
#include <eddy/net/pipe.h>
#include <eddy/net/resolve.h>
#include <eddy/net/resolver.h>
#include <eddy/net/send_file.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>
#include <eddy/net/udp_socket.h>
#include <eddy/net/unix_connect.h>
#include <eddy/net/unix_datagram.h>
#include <eddy/net/unix_listener.h>
#include <eddy/net/unix_seqpacket.h>
#include <eddy/net/unix_stream.h>

#include "support/any_loop.h"
#include "support/async_test.h"
#include "support/every_point.h"
#include "support/forked.h"
#include "support/stream_tasks.h"
#include "support/temporary_directory.h"
#include "support/thrown.h"
#include "support/tidy.h"

using namespace std::chrono_literals;
using namespace std::string_view_literals;
using eddy::address;
using eddy::as_result;
using eddy::connect;
using eddy::join;
using eddy::simulated_network;
using eddy::task;
using eddy::tcp_listener;
using eddy::tcp_stream;
using eddy::trial;
using eddy::unix_address;
using eddy::unix_listener;
using eddy::unix_stream;

namespace {

address at(std::string_view text) { return address::parse(text).value(); }

const address server_address = at("192.0.2.1:80");

/// Sends back all bytes until the end.
task<> echo(tcp_stream stream) {
  std::array<char, 1000> buffer;
  for (;;) {
    const std::size_t n = co_await stream.read(buffer);
    if (n == 0) break;
    co_await stream.write(std::string_view(buffer.data(), n));
  }
  stream.shutdown();
}

task<> serve_one(tcp_listener& listener) {
  tcp_stream stream = co_await listener.accept();
  co_await echo(std::move(stream));
}

task<> ask(address to, std::string words, std::string& answer) {
  tcp_stream stream = co_await connect(to);
  co_await stream.write(words);
  stream.shutdown();
  answer = co_await read_all(stream);
}

struct two_ends {
  tcp_stream client;
  tcp_stream server;
};

task<> accept_into(tcp_listener& listener, tcp_stream& stream) {
  stream = co_await listener.accept();
}

task<> connect_into(address to, eddy::socket_options how, tcp_stream& stream) {
  stream = co_await connect(to, how);
}

/// Two connected streams, whose listener is closed again.
task<> make_ends(eddy::event_loop& loop, two_ends& ends, const eddy::socket_options& how = {}) {
  tcp_listener listener(loop, server_address);
  auto both =
      join(accept_into(listener, ends.server), connect_into(server_address, how, ends.client));
  co_await std::move(both);
}

/// The error of a connect.
task<std::error_code> connect_error(address to, eddy::socket_options how = {}) {
  const auto made = co_await as_result(connect(to, how));
  co_return made ? std::error_code() : made.error();
}

/// Runs a few connections with a seed, and returns the trace.
std::string trace_of(simulated_network::options how) {
  eddy::manual_clock clock{eddy::manual_clock::idle::jump};
  eddy::event_loop loop(clock);
  simulated_network network(loop, how);
  const auto client = [](int i) -> task<> {
    std::string answer;
    const std::string words(static_cast<std::size_t>(1000 * (i + 1)), 'x');
    const auto asked = co_await as_result(ask(server_address, words, answer));
    if (asked) CHECK(answer == words);
  };
  const auto server = [](tcp_listener& listener) -> task<> {
    eddy::scope connections(listener.loop());
    connections.on_error([](const std::exception_ptr&) {});
    for (int i = 0; i < 3; ++i) connections.spawn(echo(co_await listener.accept()));
    co_await connections.join();
  };
  tcp_listener listener(loop, server_address);
  auto all = join(server(listener), client(0), client(1), client(2));
  try {
    eddy::block_on(loop, std::move(all));
  } catch (const eddy::deadlock&) {
  }
  return network.trace();
}

}  // namespace

// ---- TCP

ASYNC_TEST("a server and a client talk over simulated TCP, and no descriptor is opened") {
  const simulated_network network(loop);
  const std::size_t before = open_descriptors();
  tcp_listener listener(loop, server_address);
  std::string answer;
  auto both = join(serve_one(listener), ask(server_address, "some words", answer));
  co_await std::move(both);
  CHECK(answer == "some words");
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
  std::string answer;
  auto both = join(serve_one(listener), ask(server_address, "x", answer));
  co_await std::move(both);
  CHECK(answer == "x");
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
  tcp_listener listener(loop, server_address, {.backlog = 1});
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
  auto connecting = eddy::spawn(loop, connect_error(server_address));
  co_await eddy::sleep(15ms);  // the SYN has arrived, and its answer has not
  listener.close();
  const std::error_code error = co_await std::move(connecting);
  CHECK_FALSE(error);
  co_await eddy::sleep(1s);
  CHECK(network.open_sockets() == 0);
}

ASYNC_TEST("a connect that is cancelled during the handshake leaves no connection") {
  const simulated_network network(loop, {.shortest_delay = 10ms, .longest_delay = 10ms});
  tcp_listener listener(loop, server_address, {.backlog = 1});
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

// ---- Faults

ASYNC_TEST("a partition keeps bytes back, and heal delivers them in order") {
  simulated_network network(loop);
  two_ends ends;
  co_await make_ends(loop, ends);
  co_await ends.client.write("under way, "sv);
  const address home = ends.client.local_address();
  network.partition(home, server_address);
  co_await ends.client.write("kept back, "sv);
  co_await eddy::sleep(1min);
  std::array<char, 10> none;
  CHECK_FALSE(ends.server.try_read(none));
  network.heal(server_address, home);
  co_await ends.client.write("and after"sv);
  ends.client.shutdown();
  const std::string all = co_await read_all(ends.server);
  CHECK(all == "under way, kept back, and after");
}

ASYNC_TEST("a partition separates its two hosts only, and heal ends all partitions") {
  simulated_network network(loop);
  const address other = at("192.0.2.2:80");
  tcp_listener here(loop, server_address);
  tcp_listener there(loop, other);
  network.partition(at("10.0.0.1:0"), server_address);
  const std::error_code split = co_await connect_error(server_address, {.address_limit = 1s});
  CHECK(split == std::errc::timed_out);
  const std::error_code free = co_await connect_error(other);
  CHECK_FALSE(free);
  const std::error_code from_elsewhere =
      co_await connect_error(server_address, {.local = at("10.0.0.2:0")});
  CHECK_FALSE(from_elsewhere);
  auto connecting = eddy::spawn(loop, connect_error(server_address));
  co_await eddy::sleep(10s);
  CHECK_FALSE(connecting.ready());
  network.heal();
  const std::error_code healed = co_await std::move(connecting);
  CHECK_FALSE(healed);
}

ASYNC_TEST("bytes that cannot be delivered fail the connection at its limit") {
  simulated_network network(loop);
  two_ends ends;
  co_await make_ends(loop, ends);
  network.partition(at("10.0.0.1:0"), server_address);
  const auto begun = clock.now();
  co_await ends.client.write("lost"sv);
  const std::error_code error = co_await read_error(ends.client);
  CHECK(error == std::errc::timed_out);
  CHECK(clock.now() - begun == 924'600ms);
  network.heal();
  two_ends sooner;
  co_await make_ends(loop, sooner, {.user_timeout = 5s});
  network.partition(at("10.0.0.1:0"), server_address);
  const auto later = clock.now();
  co_await sooner.client.write("lost"sv);
  const std::error_code second = co_await read_error(sooner.client);
  CHECK(second == std::errc::timed_out);
  CHECK(clock.now() - later == 5s);
}

ASYNC_TEST("bytes that heal delivers in time do not fail the connection") {
  simulated_network network(loop);
  two_ends ends;
  co_await make_ends(loop, ends, {.user_timeout = 5s});
  network.set_host(server_address, simulated_network::host::silent);
  co_await ends.client.write("late"sv);
  co_await eddy::sleep(4s);
  network.set_host(server_address, simulated_network::host::reachable);
  co_await eddy::sleep(10s);
  ends.client.close();
  const std::string all = co_await read_all(ends.server);
  CHECK(all == "late");
}

ASYNC_TEST("a host that becomes unreachable is silent to its connections") {
  simulated_network network(loop);
  two_ends ends;
  co_await make_ends(loop, ends, {.user_timeout = 5s});
  network.set_host(server_address, simulated_network::host::unreachable);
  co_await ends.client.write("lost"sv);
  const std::error_code error = co_await read_error(ends.client);
  CHECK(error == std::errc::timed_out);
}

TEST_CASE_FIXTURE(tidy, "the same seed gives the same trace, and another seed another one") {
  const simulated_network::options how{.seed = 3, .short_reads = 0.3, .short_writes = 0.3};
  const std::string once = trace_of(how);
  INFO(once);
  CHECK(once.contains("reads"));
  CHECK(trace_of(how) == once);
  simulated_network::options other = how;
  other.seed = 4;
  CHECK(trace_of(other) != once);
}

TEST_CASE_FIXTURE(tidy, "short reads, short writes and resets happen by their probability") {
  const auto lines_with = [](const std::string& trace, std::string_view words) {
    std::size_t count = 0;
    for (std::size_t i = 0; (i = trace.find(words, i)) != std::string::npos; ++i) ++count;
    return count;
  };
  const std::string calm = trace_of({});
  const std::string short_reads = trace_of({.short_reads = 0.5});
  const std::string short_writes = trace_of({.short_writes = 0.5});
  CHECK(lines_with(short_reads, " reads ") > lines_with(calm, " reads "));
  CHECK(lines_with(short_writes, " writes ") > lines_with(calm, " writes "));
  CHECK_FALSE(calm.contains("ECONNRESET"));
  CHECK(trace_of({.resets = 1}).contains("ECONNRESET"));
}

ASYNC_TEST("packets travel for the time of the options, and stay in order") {
  const simulated_network network(loop, {.shortest_delay = 5ms, .longest_delay = 50ms});
  two_ends ends;
  co_await make_ends(loop, ends);
  std::string expected;
  for (int i = 0; i < 100; ++i) {
    const std::string word = std::to_string(i) + ' ';
    expected += word;
    const auto begun = clock.now();
    co_await ends.client.write(word);
    if (i % 10 != 0) continue;
    co_await ends.server.wait_readable();
    CHECK(clock.now() - begun <= 50ms);
  }
  ends.client.shutdown();
  const std::string all = co_await read_all(ends.server);
  CHECK(all == expected);
}

ASYNC_TEST("a packet without a delay does not overtake others") {
  const simulated_network network(loop, {.shortest_delay = 0ns, .longest_delay = 1ns});
  two_ends ends;
  co_await make_ends(loop, ends);
  std::string expected;
  for (int i = 0; i < 100; ++i) {
    const std::string word = std::to_string(i) + ' ';
    expected += word;
    co_await ends.client.write(word);
  }
  ends.client.shutdown();
  const std::string all = co_await read_all(ends.server);
  CHECK(all == expected);
}

ASYNC_TEST("without delays, bytes arrive in the turn after the write") {
  const simulated_network network(loop, {.shortest_delay = 0ms, .longest_delay = 0ms});
  const auto begun = clock.now();
  two_ends ends;
  co_await make_ends(loop, ends);
  co_await ends.client.write("at once"sv);
  const std::string words = co_await read_some(ends.server);
  CHECK(words == "at once");
  CHECK(clock.now() == begun);
}

namespace {

task<> ask_or_fail(address to, std::string words, int& answered, int& failed) {
  std::string answer;
  auto asking = as_result(ask(to, words, answer));
  const auto asked = co_await std::move(asking);
  if (asked) CHECK(answer.size() == words.size());
  ++(asked ? answered : failed);
}

/// An error of one connection must not end the others.
task<> echo_or_fail(tcp_stream stream) {
  auto echoing = as_result(echo(std::move(stream)));
  [[maybe_unused]] const auto ended = co_await std::move(echoing);
}

task<> serve_all(tcp_listener& listener, eddy::scope& connections) {
  for (;;) connections.spawn(echo_or_fail(co_await listener.accept()));
}

task<> disturb(simulated_network& network) {
  for (int i = 0; i < 10; ++i) {
    co_await eddy::sleep(20ms);
    network.partition(at("10.0.0.1:0"), server_address);
    co_await eddy::sleep(3s);
    network.heal();
  }
}

}  // namespace

TEST_CASE_FIXTURE(tidy, "under faults of any seed, each connection answers or fails") {
  int answered = 0;
  int failed = 0;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    INFO("seed ", seed);
    eddy::manual_clock clock{eddy::manual_clock::idle::jump};
    eddy::event_loop loop(clock);
    simulated_network network(loop, {.seed = seed,
                                     .short_reads = 0.3,
                                     .short_writes = 0.3,
                                     .resets = 0.01,
                                     .buffer_size = 3000});
    tcp_listener listener(loop, server_address, {.backlog = 2});
    eddy::scope connections(loop);
    connections.spawn(serve_all(listener, connections));
    std::vector<eddy::future<>> clients;
    for (std::size_t i = 0; i < 8; ++i) {
      clients.push_back(eddy::spawn(
          loop, ask_or_fail(server_address, std::string(1000 * i, 'f'), answered, failed)));
    }
    const auto disturbing = eddy::spawn(loop, disturb(network));
    loop.run();
    for (const eddy::future<>& client : clients) CHECK(client.ready());
  }
  CHECK(answered + failed == 400);
  CHECK(answered > 200);
  CHECK(failed > 20);
}

// ---- Names

ASYNC_TEST("names have the addresses of the network, and no thread looks them up") {
  simulated_network network(loop);
  network.add_name("server.example", {at("[2001:db8::1]:0"), server_address});
  const std::vector<address> all = co_await eddy::resolve("server.example", 443);
  CHECK(all == std::vector{at("[2001:db8::1]:443"), server_address.with_port(443)});
  const auto unknown = co_await as_result(eddy::resolve("other.example", 443));
  CHECK((unknown.error() == eddy::resolve_error::not_found));
  const std::vector<address> local = co_await eddy::resolve("localhost", 80);
  CHECK(std::ranges::all_of(local, &address::is_loopback));
}

ASYNC_TEST("a black-holed IPv6 costs a connect to a name 250 ms, and then IPv4 wins") {
  simulated_network network(loop);
  const address v6 = at("[2001:db8::1]:80");
  network.add_name("server.example", {v6, server_address});
  network.set_host(v6, simulated_network::host::silent);
  tcp_listener on_v4(loop, server_address);
  tcp_listener on_v6(loop, v6);
  const auto begun = clock.now();
  const tcp_stream stream = co_await connect("server.example", 80);
  CHECK(stream.peer_address() == server_address);
  CHECK(clock.now() - begun >= 250ms);
  CHECK(clock.now() - begun < 300ms);
  network.set_host(v6, simulated_network::host::reachable);
  const tcp_stream next = co_await connect("server.example", 80);
  CHECK(next.peer_address() == v6);
}

ASYNC_TEST("a name server of a resolver is not simulated, and its look-up fails") {
  const simulated_network network(loop);
  if (!eddy::detail::dns_available()) co_return;
  eddy::resolver_options how;
  how.servers = {at("192.0.2.53:53")};
  eddy::resolver resolver(loop, how);
  const auto found = co_await as_result(resolver.resolve("server.example", 80));
  CHECK(found.error());
  CHECK(network.trace().contains("not simulated: a socket of family 2, type 2"));
}

// ---- What is built on streams

ASYNC_TEST("buffered lines, in short reads, are whole") {
  const simulated_network network(loop, {.short_reads = 0.9, .short_writes = 0.9});
  two_ends ends;
  co_await make_ends(loop, ends);
  std::string text;
  for (int i = 0; i < 200; ++i) text += "line " + std::to_string(i) + "\r\n";
  auto writing = eddy::spawn(loop, write_all(ends.client, text));
  eddy::buffered lines(std::move(ends.server));
  for (int i = 0; i < 200; ++i) {
    const auto line = co_await lines.read_line(100);
    REQUIRE(line);
    CHECK(*line == "line " + std::to_string(i));
  }
  co_await std::move(writing);
}

namespace {

task<> proxy(tcp_listener& listener, address to) {
  tcp_stream near = co_await listener.accept();
  tcp_stream far = co_await connect(to);
  const eddy::copied moved = co_await eddy::copy_bidirectional(near, far);
  CHECK(moved.a_to_b == moved.b_to_a);
}

}  // namespace

ASYNC_TEST("a proxy with copy_bidirectional stands between a client and a server") {
  const simulated_network network(loop, {.short_reads = 0.5, .short_writes = 0.5});
  tcp_listener server(loop, server_address);
  tcp_listener between(loop, at("192.0.2.9:80"));
  std::string answer;
  const std::string words(50'000, 'p');
  auto all = join(serve_one(server), proxy(between, server_address),
                  ask(at("192.0.2.9:80"), words, answer));
  co_await std::move(all);
  CHECK(answer == words);
}

ASYNC_TEST("send_file sends a real file over a simulated connection") {
  const simulated_network network(loop, {.short_writes = 0.5, .buffer_size = 1000});
  two_ends ends;
  co_await make_ends(loop, ends);
  const temporary_directory d;
  std::string words(10'000, 'f');
  const int file = ::open((d / "file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  const eddy::unique_descriptor owned(file);
  REQUIRE(::write(file, words.data(), words.size()) == 10'000);
  const auto send = [](tcp_stream& to, int from) -> task<> {
    const std::uint64_t sent = co_await eddy::send_file(to, from, 0, 20'000);
    CHECK(sent == 10'000);
    to.shutdown();
  };
  auto sending = eddy::spawn(loop, send(ends.client, file));
  const std::string all = co_await read_all(ends.server);
  CHECK(all == words);
  co_await std::move(sending);
}

ASYNC_TEST("pipes and other real descriptors stay real") {
  const simulated_network network(loop);
  auto [reader, writer] = eddy::make_pipe(loop);
  co_await writer.write("through the kernel"sv);
  const std::string words = co_await read_some(reader);
  CHECK(words == "through the kernel");
}

// ---- Unix sockets

ASYNC_TEST("Unix streams talk at a path and at an abstract name") {
  const simulated_network network(loop);
  const std::size_t before = open_descriptors();
  for (const unix_address& name :
       {unix_address("/run/simulated/server"), unix_address::abstract("server")}) {
    unix_listener listener(loop, name);
    CHECK(listener.local_address() == name);
    unix_stream client = co_await connect(name);
    unix_stream server = co_await listener.accept();
    CHECK(client.peer_address() == name);
    CHECK(server.peer_address().is_unnamed());
    CHECK(server.peer_credentials().pid == ::getpid());
    co_await client.write("words"sv);
    client.shutdown();
    const std::string all = co_await read_all(server);
    CHECK(all == "words");
    CHECK(open_descriptors() == before);
  }
}

ASYNC_TEST("a connect to a Unix socket that is not there fails") {
  const simulated_network network(loop);
  const auto missing = co_await as_result(connect(unix_address("/run/nothing")));
  CHECK(missing.error() == std::errc::no_such_file_or_directory);
  const auto refused = co_await as_result(connect(unix_address::abstract("nothing")));
  CHECK(refused.error() == std::errc::connection_refused);
  {
    unix_listener stale(loop, unix_address("/run/stale"));
    stale.keep_file();
  }
  const auto left = co_await as_result(connect(unix_address("/run/stale")));
  CHECK(left.error() == std::errc::connection_refused);
  CHECK(code_from([&] { const unix_listener l(loop, unix_address("/run/stale")); }) ==
        std::errc::address_in_use);
  unix_listener listener(loop, unix_address("/run/stale"),
                         {.replace_stale = true, .permissions = 0600});
  const unix_stream stream = co_await connect(unix_address("/run/stale"));
  CHECK(code_from([&] {
          const unix_listener l(loop, unix_address("/run/stale"), {.replace_stale = true});
        }) == std::errc::address_in_use);
}

ASYNC_TEST("a closed Unix listener removes its file, and an unnamed one gets a name") {
  const simulated_network network(loop);
  {
    const unix_listener listener(loop, unix_address("/run/server"));
  }
  const auto missing = co_await as_result(connect(unix_address("/run/server")));
  CHECK(missing.error() == std::errc::no_such_file_or_directory);
  const unix_listener chosen(loop, unix_address());
  CHECK(chosen.local_address().is_abstract());
  const unix_stream stream = co_await connect(chosen.local_address());
}

ASYNC_TEST("a connect to a Unix listener waits while its queue is full") {
  const simulated_network network(loop);
  unix_listener listener(loop, unix_address("/run/server"), {.backlog = 1});
  const unix_stream one = co_await connect(unix_address("/run/server"));
  const unix_stream two = co_await connect(unix_address("/run/server"));
  auto third = eddy::spawn(loop, [](unix_address to) -> task<> {
    const unix_stream stream = co_await connect(to);
  }(unix_address("/run/server")));
  co_await eddy::sleep(1s);
  CHECK_FALSE(third.ready());
  const unix_stream accepted = co_await listener.accept();
  co_await std::move(third);
}

ASYNC_TEST("a pair of Unix sockets is connected, and a closed end breaks the pipe") {
  const simulated_network network(loop, {.short_reads = 0.5, .buffer_size = 1000});
  auto [near, far] = eddy::socket_pair(loop);
  const std::string words(10'000, 'u');
  auto writing = eddy::spawn(loop, write_all(near, words));
  std::string all;
  while (all.size() < words.size()) all += co_await read_some(far);
  CHECK(all == words);
  co_await std::move(writing);
  far.close();
  const auto sent = co_await as_result(near.write("x"sv));
  CHECK(sent.error() == std::errc::broken_pipe);
  const std::string end = co_await read_all(near);
  CHECK(end.empty());
}

ASYNC_TEST("a Unix socket that closes with unread bytes resets its peer") {
  const simulated_network network(loop);
  auto [near, far] = eddy::socket_pair(loop);
  co_await near.write("unread"sv);
  far.close();
  const std::error_code error = co_await read_error(near);
  CHECK(error == std::errc::connection_reset);
}

// ---- What is not simulated

ASYNC_TEST("what is not simulated fails with operation_not_supported, and the trace names it") {
  const simulated_network network(loop);
  const auto unsupported = std::errc::operation_not_supported;
  CHECK(code_from([&] { const eddy::udp_socket s(loop, address::loopback_v4(0)); }) == unsupported);
  CHECK(network.trace().contains("not simulated: a socket of family 2, type 2, protocol 0"));
  CHECK(code_from([&] { const eddy::unix_datagram s(loop, unix_address("/run/d")); }) ==
        unsupported);
  CHECK(code_from([&] { static_cast<void>(eddy::seqpacket_pair(loop)); }) == unsupported);
  two_ends ends;
  co_await make_ends(loop, ends);
  CHECK(code_from([&] { ends.client.set(eddy::option::transparent, true); }) == unsupported);
  CHECK(code_from([&] { static_cast<void>(ends.client.get(eddy::option::device)); }) ==
        unsupported);
  auto [near, far] = eddy::socket_pair(loop);
  const std::array<int, 1> some{STDIN_FILENO};
  const auto passed = co_await as_result(near.send_descriptors("x"sv, some));
  CHECK(passed.error() == unsupported);
  CHECK(network.trace().contains("not simulated: a message with descriptors"));
}

// ---- The loop

TEST_CASE_TEMPLATE("handlers run over a simulated network on any loop", Loop, ANY_LOOP) {
  Loop f;
  const simulated_network network(f.loop, {.shortest_delay = 0ms, .longest_delay = 1ms});
  tcp_listener listener(f.loop, server_address);
  std::optional<tcp_stream> server;
  std::optional<tcp_stream> client;
  std::array<char, 10> buffer{};
  std::string got;
  listener.accept([&](eddy::result<tcp_stream> r) {
    server = std::move(r.value());
    server->write("hello"sv, [](eddy::result<void> sent) { CHECK(sent); });
  });
  const auto connecting = connect(f.loop, server_address, [&](eddy::result<tcp_stream> r) {
    client = std::move(r.value());
    client->read(buffer,
                 [&](eddy::result<std::size_t> n) { got.assign(buffer.data(), n.value()); });
  });
  f.run();
  CHECK(got == "hello");
}

TEST_CASE_FIXTURE(with_jumping_loop, "block_on reports a deadlock if nothing more can happen") {
  const simulated_network network(loop);
  tcp_listener listener(loop, server_address);
  auto accepting = [](tcp_listener& l) -> task<> { const tcp_stream never = co_await l.accept(); };
  CHECK_THROWS_AS(eddy::block_on(loop, accepting(listener)), eddy::deadlock);
}

TEST_CASE_FIXTURE(with_still_loop, "a network on a clock that stands still waits for the clock") {
  const simulated_network network(loop, {.shortest_delay = 1s, .longest_delay = 1s});
  auto connecting = eddy::spawn(loop, connect_error(server_address));
  loop.run();
  CHECK_FALSE(connecting.ready());
  clock.advance(1s);
  loop.run();
  CHECK_FALSE(connecting.ready());
  clock.advance(1s);
  loop.run();
  REQUIRE(connecting.ready());
  CHECK(std::move(connecting).take() == std::make_error_code(std::errc::connection_refused));
}

TEST_CASE_FIXTURE(with_jumping_loop,
                  "sockets that outlive their network fail, and the kernel is back") {
  std::optional<tcp_listener> listener;
  std::optional<std::error_code> error;
  {
    const simulated_network network(loop);
    listener.emplace(loop, server_address);
    listener->accept([&](const eddy::result<tcp_stream>& r) { error = r.error(); });
    CHECK(network.open_sockets() == 1);
  }
  loop.run();
  CHECK(error == std::make_error_code(std::errc::bad_file_descriptor));
  const tcp_listener real(loop, address::loopback_v4(0));
  CHECK(real.descriptor() < 10'000);
}

ASYNC_TEST("a readiness watches a simulated socket") {
  const simulated_network network(loop);
  two_ends ends;
  co_await make_ends(loop, ends);
  eddy::readiness watched(loop, ends.server.descriptor());
  bool told = false;
  watched.wait_readable([&](std::error_code error) { told = !error; });
  co_await eddy::sleep(1s);
  CHECK_FALSE(told);
  co_await ends.client.write("x"sv);
  co_await eddy::sleep(1s);
  CHECK(told);
  std::error_code end;
  eddy::readiness other(loop, ends.client.descriptor());
  other.wait_readable([&](std::error_code error) { end = error; });
  ends.client.close();
  co_await eddy::sleep(1s);
  CHECK(end == std::errc::bad_file_descriptor);
}

TEST_CASE_FIXTURE(with_jumping_loop, "a socket on another loop fails") {
  const simulated_network network(loop);
  eddy::event_loop other;
  tcp_listener listener(other, server_address);
  std::error_code end;
  listener.accept([&](const eddy::result<tcp_stream>& r) { end = r.error(); });
  other.run();
  CHECK(end == std::errc::bad_file_descriptor);
}

ASYNC_TEST("a simulated descriptor can be released, taken over and closed") {
  const simulated_network network(loop);
  two_ends ends;
  co_await make_ends(loop, ends);
  const int descriptor = ends.client.release();
  CHECK(network.open_sockets() == 2);
  tcp_stream again(loop, descriptor);
  co_await again.write("still there"sv);
  const std::string words = co_await read_some(ends.server);
  CHECK(words == "still there");
  {
    const eddy::unique_descriptor closes(again.release());
  }
  CHECK(network.open_sockets() == 1);
  const std::string end = co_await read_all(ends.server);
  CHECK(end.empty());
}

ASYNC_TEST("a larger receive buffer lets the writer go on") {
  const simulated_network network(loop, {.buffer_size = 5000});
  two_ends ends;
  co_await make_ends(loop, ends);
  auto writing = eddy::spawn(loop, write_all(ends.client, std::string(20'000, 'm')));
  co_await eddy::sleep(1s);
  CHECK_FALSE(writing.ready());
  ends.server.set_receive_buffer(10'000);
  co_await std::move(writing);
}

TEST_CASE_FIXTURE(with_loop, "a second network on a loop aborts the program") {
  dies_saying("a second stand-in for the kernel", [] {
    eddy::event_loop one;
    const simulated_network first(one);
    const simulated_network second(one);
  });
}

ASYNC_TEST("networks follow each other on a loop") {
  for (int i = 0; i < 3; ++i) {
    const simulated_network network(loop);
    tcp_listener listener(loop, server_address);
    std::string answer;
    auto both = join(serve_one(listener), ask(server_address, "x", answer));
    co_await std::move(both);
    CHECK(answer == "x");
  }
}

ASYNC_TEST("1,000 connections take no descriptor") {
  const simulated_network network(loop);
  const std::size_t before = open_descriptors();
  tcp_listener listener(loop, server_address);
  std::vector<two_ends> all(1000);
  for (two_ends& ends : all) {
    auto both =
        join(accept_into(listener, ends.server), connect_into(server_address, {}, ends.client));
    co_await std::move(both);
  }
  CHECK(network.open_sockets() == 2001);
  CHECK(open_descriptors() == before);
  for (two_ends& ends : all) {
    co_await ends.client.write("word"sv);
    ends.client.close();
  }
  for (two_ends& ends : all) {
    const std::string words = co_await read_all(ends.server);
    CHECK(words == "word");
    ends.server.close();
  }
  CHECK(network.open_sockets() == 1);
}

ASYNC_TEST("the trace keeps the last lines, or none") {
  const simulated_network short_one(loop, {.trace_lines = 2});
  for (int i = 0; i < 3; ++i) {
    const std::error_code error = co_await connect_error(server_address);
    CHECK(error);
  }
  const std::string lines = short_one.trace();
  CHECK(std::ranges::count(lines, '\n') == 2);
  CHECK(lines.contains("socket 3 closes"));
}

// ---- Ended at every point

SCENARIO_TEST("a simulated echo, ended at every point") {
  const simulated_network network(t.loop(), {.seed = 5, .short_reads = 0.5, .short_writes = 0.5});
  const trial::part held(t);
  tcp_listener listener(t.loop(), server_address);
  std::string answer;
  auto both = join(serve_one(listener), ask(server_address, "some words", answer));
  co_await std::move(both);
  CHECK(answer == "some words");
}

SCENARIO_TEST("a simulated connect to a name with a silent address, ended at every point") {
  simulated_network network(t.loop());
  network.add_name("server.example", {at("[2001:db8::1]:80"), server_address});
  network.set_host(at("[2001:db8::1]:80"), simulated_network::host::silent);
  const trial::part held(t);
  tcp_listener listener(t.loop(), server_address);
  const tcp_stream stream = co_await connect("server.example", 80);
  CHECK(stream.peer_address() == server_address);
}

SCENARIO_TEST("simulated Unix sockets, ended at every point") {
  const simulated_network network(t.loop(), {.short_reads = 0.5});
  const trial::part held(t);
  unix_listener listener(t.loop(), unix_address("/run/server"));
  unix_stream client = co_await connect(unix_address("/run/server"));
  unix_stream server = co_await listener.accept();
  co_await client.write("word"sv);
  client.close();
  const std::string words = co_await read_all(server);
  CHECK(words == "word");
}

SCENARIO_TEST("a proxy on a simulated network, ended at every point") {
  const simulated_network network(t.loop(), {.short_reads = 0.5, .short_writes = 0.5});
  const trial::part held(t);
  tcp_listener server(t.loop(), server_address);
  tcp_listener between(t.loop(), at("192.0.2.9:80"));
  std::string answer;
  auto all = join(serve_one(server), proxy(between, server_address),
                  ask(at("192.0.2.9:80"), "words", answer));
  co_await std::move(all);
  CHECK(answer == "words");
}

SCENARIO_TEST("handlers on a simulated network, ended at every point") {
  const simulated_network network(t.loop());
  const trial::part held(t);
  tcp_listener listener(t.loop(), server_address);
  tcp_stream client = co_await connect(server_address);
  tcp_stream server = co_await listener.accept();
  std::array<char, 100> buffer;
  std::size_t size = 0;
  client.read(buffer, [&](eddy::result<std::size_t> n) {
    t.runs();
    size = n.value_or(0);
  });
  server.write("word"sv, [&](const eddy::result<void>&) { t.runs(); });
  co_await eddy::sleep(1s);
  CHECK(size == 4);
}
