// SPDX-License-Identifier: BSD-2-Clause
// Every operation of Unix sockets, cancelled at every point.
#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>

#include <eddy/future/join.h>
#include <eddy/future/sleep.h>
#include <eddy/future/task.h>
#include <eddy/net/unix_connect.h>
#include <eddy/net/unix_datagram.h>
#include <eddy/net/unix_listener.h>
#include <eddy/net/unix_seqpacket.h>
#include <eddy/net/unix_stream.h>

#include "support/every_point.h"
#include "support/stream_pair.h"
#include "support/stream_tasks.h"

using namespace std::chrono_literals;
using namespace std::string_view_literals;
using eddy::join;
using eddy::sleep;
using eddy::task;
using eddy::trial;
using eddy::unique_descriptor;

namespace {

struct connects_and_accepts {
  explicit connects_and_accepts(trial& t)
      : of(t), listener(t.loop(), eddy::unix_address()), at(listener.local_address()) {}
  task<> work() {
    const trial::part held(of);
    auto both = join(serve(), ask());
    co_await std::move(both);
  }
  task<> serve() {
    eddy::unix_stream s = co_await listener.accept();
    const std::string all = co_await read_all(s);
    CHECK(all == "word");
  }
  task<> ask() {
    co_await sleep(1s);
    eddy::unix_stream s = co_await eddy::connect(at);
    co_await s.write("word"sv);
    s.shutdown();
  }
  trial& of;
  eddy::unix_listener listener;
  eddy::unix_address at;
};

struct connects_to_a_full_listener {
  explicit connects_to_a_full_listener(trial& t)
      : of(t), listener(t.loop(), eddy::unix_address(), {.backlog = 0}) {}
  task<> work() {
    const trial::part held(of);
    auto three = join(accept_late(), connect_one(), connect_one());
    co_await std::move(three);
  }
  task<> accept_late() {
    for (int i = 0; i < 2; ++i) {
      co_await sleep(1s);
      const eddy::unix_seqpacket s = co_await listener.accept();
      CHECK(s.open());
    }
  }
  task<> connect_one() {
    const eddy::unix_address at = listener.local_address();
    const eddy::unix_seqpacket s = co_await eddy::connect_seqpacket(at);
    CHECK(s.open());
  }
  trial& of;
  eddy::unix_seqpacket_listener listener;
};

struct takes_late_descriptors {
  explicit takes_late_descriptors(trial& t)
      : of(t), ends(eddy::socket_pair(t.loop())), file(::open("/dev/null", O_RDONLY | O_CLOEXEC)) {}
  task<> work() {
    const trial::part held(of);
    auto both = join(receive(), send_late());
    co_await std::move(both);
  }
  task<> receive() {
    const eddy::received_bytes got = co_await ends.first.receive_descriptors(buffer, slots);
    bytes += got.size;
    descriptors += got.descriptors;
  }
  task<> send_late() {
    const std::array two{file.number(), file.number()};
    co_await sleep(1s);
    co_await ends.second.send_descriptors("word"sv, two);
    sent = true;
  }
  std::string check(bool) {
    // The next reader gets the bytes and descriptors that were sent and not delivered.
    if (const auto left = ends.first.try_receive_descriptors(buffer, slots)) {
      bytes += left->value().size;
      descriptors += left->value().descriptors;
    }
    if (bytes == 0) return descriptors == 0 && !sent ? "" : "bytes are lost";
    return bytes == 4 && descriptors == 2 ? "" : "descriptors are lost";
  }
  trial& of;
  std::pair<eddy::unix_stream, eddy::unix_stream> ends;
  unique_descriptor file;
  std::array<char, 16> buffer{};
  std::array<unique_descriptor, 4> slots;
  std::size_t bytes = 0;
  std::size_t descriptors = 0;
  bool sent = false;
};

struct sends_descriptors_and_much {
  explicit sends_descriptors_and_much(trial& t)
      : of(t), ends(eddy::socket_pair(t.loop())), file(::open("/dev/null", O_RDONLY | O_CLOEXEC)) {}
  task<> work() {
    const trial::part held(of);
    auto both = join(send_all(), receive());
    co_await std::move(both);
  }
  task<> send_all() {
    const std::string much(1'000'000, 'm');
    const std::array one{file.number()};
    co_await ends.first.send_descriptors(much, one);
    ends.first.shutdown();
  }
  task<> receive() {
    std::vector<char> large(300'000);
    std::array<unique_descriptor, 2> slots;
    for (;;) {
      const eddy::received_bytes got = co_await ends.second.receive_descriptors(large, slots);
      if (got.size == 0) break;
      bytes += got.size;
      descriptors += got.descriptors;
    }
  }
  std::string check(bool whole) const {
    return !whole || (bytes == 1'000'000 && descriptors == 1) ? "" : "bytes are lost";
  }
  trial& of;
  std::pair<eddy::unix_stream, eddy::unix_stream> ends;
  unique_descriptor file;
  std::size_t bytes = 0;
  std::size_t descriptors = 0;
};

/// Receives a late message with a descriptor.
template <class Pair>
struct takes_a_late_message {
  takes_a_late_message(trial& t, Pair pair)
      : of(t), ends(std::move(pair)), file(::open("/dev/null", O_RDONLY | O_CLOEXEC)) {}
  task<> work() {
    const trial::part held(of);
    auto both = join(receive(), send_late());
    co_await std::move(both);
  }
  task<> receive() {
    const eddy::received_message got = co_await ends.first.receive_descriptors(buffer, slots);
    bytes += got.size;
    descriptors += got.descriptors;
  }
  task<> send_late() {
    const std::array one{file.number()};
    co_await sleep(1s);
    co_await ends.second.send_descriptors("word"sv, one);
    sent = true;
  }
  std::string check(bool) {
    if (const auto left = ends.first.try_receive_descriptors(buffer, slots)) {
      bytes += left->value().size;
      descriptors += left->value().descriptors;
    }
    if (bytes == 0) return sent ? "the message is lost" : "";
    return bytes == 4 && descriptors == 1 ? "" : "a descriptor is lost";
  }
  trial& of;
  Pair ends;
  unique_descriptor file;
  std::array<char, 16> buffer{};
  std::array<unique_descriptor, 2> slots;
  std::size_t bytes = 0;
  std::size_t descriptors = 0;
  bool sent = false;
};

using packets = std::pair<eddy::unix_seqpacket, eddy::unix_seqpacket>;
using datagrams = std::pair<eddy::unix_datagram, eddy::unix_datagram>;

struct takes_a_late_packet : takes_a_late_message<packets> {
  explicit takes_a_late_packet(trial& t)
      : takes_a_late_message(t, eddy::seqpacket_pair(t.loop())) {}
};
struct takes_a_late_datagram : takes_a_late_message<datagrams> {
  explicit takes_a_late_datagram(trial& t)
      : takes_a_late_message(t, eddy::datagram_pair(t.loop())) {}
};

struct sends_to_a_full_receiver {
  explicit sends_to_a_full_receiver(trial& t)
      : of(t),
        server(t.loop(), eddy::unix_address()),
        client(t.loop()),
        at(server.local_address()) {
    while (client.try_send_to("x", at)) ++queued;
  }
  task<> work() {
    const trial::part held(of);
    auto both = join(send_late(), receive());
    co_await std::move(both);
  }
  task<> send_late() {
    co_await client.send_to("y"sv, at);
    sent = true;
  }
  task<> receive() {
    co_await sleep(10ms);
    std::array<char, 4> buffer;
    for (int i = 0; i < queued + 1; ++i) {
      const eddy::received_message one = co_await server.receive(buffer);
      CHECK(one.size == 1);
      ++received;
    }
  }
  std::string check(bool) {
    std::array<char, 4> buffer;
    while (server.try_receive(buffer)) ++received;
    // A send whose end was not seen by its sender has been sent or not.
    return received == queued + 1 || (received == queued && !sent) ? "" : "a message is lost";
  }
  trial& of;
  eddy::unix_datagram server;
  eddy::unix_datagram client;
  eddy::unix_address at;
  int queued = 0;
  int received = 0;
  bool sent = false;
};

}  // namespace

SCENARIO_OBJECT_TEST(connects_and_accepts, "a connect and an accept of a Unix stream")
SCENARIO_OBJECT_TEST(connects_to_a_full_listener, "connects that wait for a full listener")
SCENARIO_OBJECT_TEST(takes_late_descriptors, "a receive of late descriptors loses none")
SCENARIO_OBJECT_TEST(sends_descriptors_and_much,
                     "descriptors before more bytes than a socket takes")
SCENARIO_OBJECT_TEST(takes_a_late_packet, "a receive of a late packet loses none")
SCENARIO_OBJECT_TEST(takes_a_late_datagram, "a receive of a late datagram loses none")
SCENARIO_OBJECT_TEST(sends_to_a_full_receiver, "a send to a full receiver")
