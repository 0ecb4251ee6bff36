// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cerrno>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <eddy/net/socket_stream.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>

/// Connects a blocking socket to an address, without eddy.
inline int plain_connection(const eddy::address& to) {
  sockaddr_storage name;
  const socklen_t size = to.to(name);
  const int descriptor = ::socket(name.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::connect(descriptor, reinterpret_cast<const sockaddr*>(&name), size) == 0) return descriptor;
  const std::system_error error(errno, std::generic_category(), "plain_connection");
  ::close(descriptor);
  throw error;
}

/// Accepts the next connection, for which it waits up to 10 s.
inline eddy::tcp_stream next_of(eddy::tcp_listener& listener) {
  pollfd waiting{.fd = listener.descriptor(), .events = POLLIN, .revents = 0};
  ::poll(&waiting, 1, 10'000);
  auto accepted = listener.try_accept();
  REQUIRE(accepted.has_value());
  if (!*accepted) throw std::system_error(accepted->error(), "next_of");
  return std::move(**accepted);
}

/// The two ends of one loopback connection, both on one loop.
struct stream_pair {
  /// They are connected at `at`.
  explicit stream_pair(eddy::event_loop& loop,
                       const eddy::address& at = eddy::address::loopback_v4(0))
      : stream_pair(loop, eddy::tcp_listener(loop, at)) {}

  eddy::tcp_stream near;
  eddy::tcp_stream far;

private:
  stream_pair(eddy::event_loop& loop, eddy::tcp_listener listener)
      : near(loop, plain_connection(listener.local_address())), far(next_of(listener)) {}
};

/// Writes all `bytes` at once. The socket's buffer must have space for them.
inline void send(eddy::socket_stream& from, std::string_view bytes) {
  const auto sent = from.try_write(bytes);
  REQUIRE(sent.has_value());
  REQUIRE(sent->value() == bytes.size());
}

/// Reads all bytes that have arrived.
inline std::string take(eddy::socket_stream& from) {
  std::string all;
  char some[65536];
  for (;;) {
    const auto n = from.try_read(some);
    if (!n || !n->has_value() || **n == 0) return all;
    all.append(some, **n);
  }
}
