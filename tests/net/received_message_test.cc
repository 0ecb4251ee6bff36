// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/received_message.h>.
#include <eddy/net/received_message.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <eddy/net/unique_descriptor.h>
#include <eddy/net/unix_datagram.h>
#include <eddy/net/unix_seqpacket.h>
#include <eddy/net/unix_stream.h>

#include "support/temporary_directory.h"
#include "support/tidy.h"

using namespace std::string_view_literals;
using eddy::received_bytes;
using eddy::received_message;
using eddy::unique_descriptor;
using eddy::unix_address;
using eddy::unix_datagram;

namespace {

unique_descriptor a_file() { return unique_descriptor(::open("/dev/null", O_RDWR | O_CLOEXEC)); }

}  // namespace

TEST_CASE_FIXTURE(with_loop, "a message is truncated exactly if it is longer than the buffer") {
  auto [near, far] = eddy::seqpacket_pair(loop);
  for (const std::size_t sent : {1, 4, 5, 6, 100}) {
    const std::string bytes(sent, 'm');
    CHECK(near.try_send(bytes)->has_value());
    std::array<char, 5> buffer;
    const received_message got = far.try_receive(buffer)->value();
    CHECK(got.full_size == sent);
    CHECK(got.size == std::min(sent, buffer.size()));
    CHECK(got.truncated() == (sent > buffer.size()));
  }
}

TEST_CASE_FIXTURE(with_loop, "an empty message of a datagram socket is not truncated") {
  auto [near, far] = eddy::datagram_pair(loop);
  CHECK(near.try_send(""sv)->has_value());
  std::array<char, 5> buffer;
  const received_message got = far.try_receive(buffer)->value();
  CHECK(got.full_size == 0);
  CHECK(!got.truncated());
}

TEST_CASE_FIXTURE(with_loop, "a truncated message still has all its descriptors") {
  auto [near, far] = eddy::seqpacket_pair(loop);
  const unique_descriptor file = a_file();
  const std::array numbers{file.number(), file.number()};
  CHECK(near.try_send_descriptors("long"sv, numbers)->has_value());
  std::array<char, 1> buffer;
  std::array<unique_descriptor, 2> slots;
  const received_message got = far.try_receive_descriptors(buffer, slots)->value();
  CHECK(got.truncated());
  CHECK(got.descriptors == 2);
  CHECK(!got.descriptors_lost);
}

TEST_CASE_FIXTURE(with_loop, "the slots own the descriptors, and the message only counts them") {
  auto [near, far] = eddy::seqpacket_pair(loop);
  const unique_descriptor file = a_file();
  const std::array numbers{file.number(), file.number()};
  const std::size_t open = open_descriptors();
  unique_descriptor kept;
  {
    std::array<char, 8> buffer;
    std::array<unique_descriptor, 3> slots;
    {
      CHECK(near.try_send_descriptors("word"sv, numbers)->has_value());
      const received_message got = far.try_receive_descriptors(buffer, slots)->value();
      CHECK(got.descriptors == 2);
    }
    CHECK(open_descriptors() == open + 2);  // without the message
    CHECK(!slots[2]);
    kept = std::move(slots[0]);
  }
  CHECK(open_descriptors() == open + 1);
  CHECK(::fcntl(kept.number(), F_GETFD) == FD_CLOEXEC);
  kept.close();
  CHECK(open_descriptors() == open);
}

TEST_CASE_FIXTURE(with_loop, "descriptors without a slot are reported as lost and closed") {
  auto [near, far] = eddy::socket_pair(loop);
  const unique_descriptor file = a_file();
  const std::vector<int> numbers(3, file.number());
  std::array<char, 8> buffer;
  std::array<unique_descriptor, 3> slots;
  for (const std::size_t space : {0, 1, 2, 3}) {
    const std::size_t open = open_descriptors();
    CHECK(near.try_send_descriptors("word"sv, numbers)->value() == 4);
    const received_bytes got =
        far.try_receive_descriptors(buffer, std::span(slots).first(space))->value();
    CHECK(got.size == 4);
    CHECK(got.descriptors == space);
    CHECK(got.descriptors_lost == (space < 3));
    CHECK(open_descriptors() == open + space);
    for (unique_descriptor& s : slots) s.close();
  }
}

TEST_CASE_FIXTURE(with_loop, "a message keeps the sender's address after the sender has gone") {
  const temporary_directory d;
  unix_datagram server(loop, unix_address(d / "server"));
  received_message kept;
  {
    unix_datagram client(loop, unix_address(d / "client"));
    CHECK(client.try_send_to("word"sv, server.local_address())->has_value());
    std::array<char, 8> buffer;
    received_message got = server.try_receive(buffer)->value();
    kept = std::move(got);
  }
  CHECK(kept.size == 4);
  CHECK(kept.from == unix_address(d / "client"));
}
