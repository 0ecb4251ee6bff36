// SPDX-License-Identifier: BSD-2-Clause
// Programs on a simulated network, run whole and ended at every point.
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <eddy/future/join.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/net/address.h>
#include <eddy/net/buffered.h>
#include <eddy/net/connect.h>
#include <eddy/net/copy.h>
#include <eddy/net/pipe.h>
#include <eddy/net/send_file.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>
#include <eddy/net/unique_descriptor.h>
#include <eddy/net/unix_address.h>
#include <eddy/net/unix_connect.h>
#include <eddy/net/unix_listener.h>
#include <eddy/net/unix_stream.h>
#include <eddy/testing/simulated_network.h>

#include "support/async_test.h"
#include "support/every_point.h"
#include "support/simulated_ends.h"
#include "support/stream_tasks.h"
#include "support/temporary_directory.h"

using namespace std::chrono_literals;
using namespace std::string_view_literals;
using eddy::address;
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

// ---- Programs on top of streams

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

// ---- Ended at every point

SCENARIO_TEST("a simulated echo, ended at every point") {
  const simulated_network network(t.loop(), {.seed = 5, .short_reads = 0.5, .short_writes = 0.5});
  const trial::part held(t);
  tcp_listener listener(t.loop(), server_address);
  co_await check_echo(listener, "some words");
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
