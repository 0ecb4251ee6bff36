// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/testing/simulated_network.h>.
#include <eddy/testing/simulated_network.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/join.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/loop/descriptor_watch.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/readiness.h>
#include <eddy/net/address.h>
#include <eddy/net/connect.h>
#include <eddy/net/detail/dns_query.h>
#include <eddy/net/resolve.h>
#include <eddy/net/resolver.h>
#include <eddy/net/socket_options.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>
#include <eddy/net/udp_socket.h>
#include <eddy/net/unique_descriptor.h>
#include <eddy/net/unix_address.h>
#include <eddy/net/unix_datagram.h>
#include <eddy/net/unix_seqpacket.h>
#include <eddy/net/unix_stream.h>

#include "support/any_loop.h"
#include "support/async_test.h"
#include "support/forked.h"
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
using eddy::task;
using eddy::tcp_listener;
using eddy::tcp_stream;
using eddy::unix_address;

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

// ---- Calls that are not simulated

ASYNC_TEST(
    "a call that is not simulated fails with operation_not_supported, and the trace names it") {
  const simulated_network network(loop);
  const auto unsupported = std::errc::operation_not_supported;
  CHECK(code_from([&] { const eddy::udp_socket s(loop, address::loopback_v4(0)); }) == unsupported);
  CHECK(network.trace().contains("not simulated: a socket of family 2, type 2, protocol 0"));
  CHECK(code_from([&] { const eddy::unix_datagram s(loop, unix_address("/run/d")); }) ==
        unsupported);
  eddy::unix_datagram unbound(loop);
  std::array<char, 4> buffer;
  for (const unix_address& to : {unix_address("/run/d"), unix_address::abstract("d")}) {
    CHECK(code_from([&] { unbound.connect(to); }) == unsupported);
    CHECK(unbound.try_send_to("x"sv, to)->error() == unsupported);
  }
  CHECK(unbound.try_send("x"sv)->error() == unsupported);
  CHECK(unbound.try_receive(buffer)->error() == unsupported);
  for (const char* const name : {"bind", "connect", "sendmsg", "recvmsg"}) {
    CHECK(network.trace().contains(std::string("not simulated: ") + name + " of a Unix datagram"));
  }
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

TEST_CASE_FIXTURE(with_loop, "a network whose sockets have no buffer aborts the program") {
  dies_saying("a simulated_network with a buffer_size of 0 could deliver no byte", [] {
    eddy::event_loop one;
    const simulated_network network(one, {.buffer_size = 0});
  });
}

ASYNC_TEST("a listener without reuse_address starts again beside its connections") {
  const simulated_network network(loop);
  tcp_listener first(loop, server_address, {.reuse_address = false});
  const tcp_stream client = co_await connect(server_address);
  const tcp_stream server = co_await first.accept();
  first.close();
  const tcp_listener second(loop, server_address, {.reuse_address = false});
  CHECK(second.local_address() == server_address);
}

TEST_CASE_FIXTURE(with_loop,
                  "a descriptor_watch of a simulated socket fails with bad_file_descriptor") {
  const simulated_network network(loop);
  const tcp_listener listener(loop, server_address);
  CHECK(code_from([&] {
          eddy::descriptor_watch watch(loop, listener.descriptor());
          watch.start(eddy::descriptor_events::readable,
                      [](eddy::result<eddy::descriptor_events>) {});
        }) == std::errc::bad_file_descriptor);
}

ASYNC_TEST("networks follow each other on a loop") {
  for (int i = 0; i < 3; ++i) {
    const simulated_network network(loop);
    tcp_listener listener(loop, server_address);
    co_await check_echo(listener, "x");
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
