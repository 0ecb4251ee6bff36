// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/byte_stream.h>.
#include <eddy/net/byte_stream.h>

#include <string>
#include <string_view>
#include <system_error>

#include <doctest/doctest.h>

#include <eddy/net/duplex.h>
#include <eddy/net/tcp_stream.h>

#include "support/async_test.h"
#include "support/stream_pair.h"

static_assert(eddy::byte_stream<eddy::tcp_stream>);
static_assert(eddy::byte_stream<eddy::duplex_stream>);
static_assert(!eddy::byte_stream<int>);
static_assert(!eddy::byte_stream<std::string>);
static_assert(std::is_error_code_enum_v<eddy::stream_error>);

namespace {

/// Sends a word and the end, over a stream of any type.
template <eddy::byte_stream S>
eddy::task<std::string> say(S& from, S& to) {
  co_await from.write(std::string_view("word"));
  co_await eddy::detail::shut_down(from);
  std::string all;
  for (;;) {
    char buffer[16];
    const std::size_t n = co_await to.read(buffer);
    if (n == 0) co_return all;
    all.append(buffer, n);
  }
}

}  // namespace

ASYNC_TEST("one template works on TCP and in memory") {
  stream_pair tcp(loop);
  const std::string over_tcp = co_await say(tcp.near, tcp.far);
  auto [a, b] = eddy::duplex(16, 16);
  const std::string in_memory = co_await say(a, b);
  CHECK(over_tcp == "word");
  CHECK(in_memory == "word");
}

TEST_CASE("a stream_error has words, and too_long is also the system's message_size") {
  const std::error_code cut_off = eddy::stream_error::cut_off;
  const std::error_code too_long = eddy::stream_error::too_long;
  CHECK(cut_off.message() == "the stream ended in the middle");
  CHECK(too_long.message() == "longer than the limit");
  CHECK(std::string_view(too_long.category().name()) == "stream");
  CHECK(too_long == std::errc::message_size);
  CHECK(cut_off != std::errc::message_size);
  CHECK(cut_off == eddy::stream_error::cut_off);
}
