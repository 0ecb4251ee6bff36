// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/task.h>
#include <eddy/loop/event_loop.h>
#include <eddy/net/address.h>
#include <eddy/net/connect.h>
#include <eddy/net/socket_options.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>

#include "support/stream_tasks.h"

// Servers and clients for the tests of a simulated network.

inline eddy::address at(std::string_view text) { return eddy::address::parse(text).value(); }

inline const eddy::address server_address = at("192.0.2.1:80");

/// Sends back all bytes until the end.
inline eddy::task<> echo(eddy::tcp_stream stream) {
  std::array<char, 1000> buffer;
  for (;;) {
    const std::size_t n = co_await stream.read(buffer);
    if (n == 0) break;
    co_await stream.write(std::string_view(buffer.data(), n));
  }
  stream.shutdown();
}

inline eddy::task<> serve_one(eddy::tcp_listener& listener) {
  eddy::tcp_stream stream = co_await listener.accept();
  co_await echo(std::move(stream));
}

inline eddy::task<> ask(eddy::address to, std::string words, std::string& answer) {
  eddy::tcp_stream stream = co_await eddy::connect(to);
  co_await stream.write(words);
  stream.shutdown();
  answer = co_await read_all(stream);
}

/// An echo server serves one client, whose answer must be its words.
inline eddy::task<> check_echo(eddy::tcp_listener& listener, std::string words) {
  std::string answer;
  auto both = eddy::join(serve_one(listener), ask(server_address, words, answer));
  co_await std::move(both);
  CHECK(answer == words);
}

struct two_ends {
  eddy::tcp_stream client;
  eddy::tcp_stream server;
};

inline eddy::task<> accept_into(eddy::tcp_listener& listener, eddy::tcp_stream& stream) {
  stream = co_await listener.accept();
}

inline eddy::task<> connect_into(eddy::address to, eddy::socket_options how,
                                 eddy::tcp_stream& stream) {
  stream = co_await eddy::connect(to, how);
}

/// Two connected streams, whose listener is closed again.
inline eddy::task<> make_ends(eddy::event_loop& loop, two_ends& ends,
                              const eddy::socket_options& how = {}) {
  eddy::tcp_listener listener(loop, server_address);
  auto both = eddy::join(accept_into(listener, ends.server),
                         connect_into(server_address, how, ends.client));
  co_await std::move(both);
}

/// The error of a connect.
inline eddy::task<std::error_code> connect_error(eddy::address to, eddy::socket_options how = {}) {
  const auto made = co_await eddy::as_result(eddy::connect(to, how));
  co_return made ? std::error_code() : made.error();
}
