// SPDX-License-Identifier: BSD-2-Clause
// The faults of a simulated network: delays, short reads, resets and partitions.
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/join.h>
#include <eddy/future/scope.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/loop/clock.h>
#include <eddy/loop/event_loop.h>
#include <eddy/net/address.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>
#include <eddy/testing/simulated_network.h>

#include "support/async_test.h"
#include "support/simulated_ends.h"
#include "support/stream_tasks.h"
#include "support/tidy.h"

using namespace std::chrono_literals;
using namespace std::string_view_literals;
using eddy::address;
using eddy::as_result;
using eddy::join;
using eddy::simulated_network;
using eddy::task;
using eddy::tcp_listener;
using eddy::tcp_stream;

namespace {

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

namespace {

/// Writes words, each in a packet of its own. Checks their order where they arrive, and the time
/// that they need.
task<> check_packets(eddy::event_loop& loop, const eddy::manual_clock& clock,
                     simulated_network::options how) {
  const simulated_network network(loop, how);
  two_ends ends;
  co_await make_ends(loop, ends);
  for (int round = 0; round < 100; ++round) {
    const int count = round % 2 == 0 ? 1 : 10;
    const auto begun = clock.now();
    std::string expected;
    for (int i = 0; i < count; ++i) {
      const std::string word = std::to_string(i) + ' ';
      expected += word;
      co_await ends.client.write(word);
    }
    std::string all;
    while (all.size() < expected.size()) {
      all += co_await read_some(ends.server);
      CHECK(clock.now() - begun >= how.shortest_delay);
    }
    CHECK(all == expected);
    CHECK(clock.now() - begun <= how.longest_delay);
  }
}

}  // namespace

ASYNC_TEST("packets travel for the time of the options, and stay in order") {
  const simulated_network::options how{.shortest_delay = 5ms, .longest_delay = 50ms};
  co_await check_packets(loop, clock, how);
}

ASYNC_TEST("a packet without a delay does not overtake others") {
  const simulated_network::options how{.shortest_delay = 0ns, .longest_delay = 1ns};
  co_await check_packets(loop, clock, how);
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
    tcp_listener listener(loop, server_address, {.backlog = 1});
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
