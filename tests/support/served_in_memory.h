// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/future/block_on.h>
#include <eddy/future/join.h>
#include <eddy/future/scope.h>
#include <eddy/future/task.h>
#include <eddy/loop/clock.h>
#include <eddy/loop/event_loop.h>
#include <eddy/net/address.h>
#include <eddy/net/connect.h>
#include <eddy/net/tcp_stream.h>
#include <eddy/testing/simulated_network.h>

#include "support/stream_tasks.h"
#include "support/tidy.h"

/// Sends `words` to an echo server and checks the answer.
inline eddy::task<> ask_in_memory(eddy::address server, std::string words) {
  eddy::tcp_stream stream = co_await eddy::connect(server);
  const auto send = [](eddy::tcp_stream& to, const std::string& all) -> eddy::task<> {
    co_await to.write(all);
    to.shutdown();
  };
  auto sending = send(stream, words);
  auto reading = read_all(stream);
  const auto done = co_await eddy::join(std::move(sending), std::move(reading));
  CHECK(std::get<1>(done) == words);
}

/// Runs a `Server` of the samples, which has `address`, `stop` and `count`, on a simulated network:
/// 100 clients, and then the orderly stop.
template <class Server>
void serve_in_memory(std::uint64_t seed) {
  const tidy no_descriptor;
  eddy::manual_clock clock{eddy::manual_clock::idle::jump};
  eddy::event_loop loop(clock);
  const eddy::simulated_network network(
      loop, {.seed = seed, .short_reads = 0.3, .short_writes = 0.3, .buffer_size = 2000});
  const std::size_t before = open_descriptors();
  Server server(loop, eddy::address::loopback_v4(7000));
  const auto clients = [](eddy::event_loop& on, eddy::address at) -> eddy::task<> {
    eddy::scope all(on);
    for (int i = 0; i < 100; ++i) {
      all.spawn(ask_in_memory(at, std::string(static_cast<std::size_t>(i * 100), 'e')));
    }
    co_await all.join();
  };
  eddy::block_on(loop, clients(loop, server.address()));
  CHECK(open_descriptors() == before);
  loop.run();  // until nothing is under way
  CHECK(server.count().connections == 0);
  server.stop();
  loop.run();  // ends, because nothing is left
}
