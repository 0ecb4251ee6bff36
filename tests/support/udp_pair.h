// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include <doctest/doctest.h>
#include <poll.h>

#include <eddy/net/udp_socket.h>

/// Waits up to 10 s until a socket has something to receive, or an error.
inline bool arrives_at(const eddy::udp_socket& socket) {
  pollfd waiting{.fd = socket.descriptor(), .events = POLLIN, .revents = 0};
  return ::poll(&waiting, 1, 10'000) == 1;
}

/// Sends a datagram at once.
inline void send(eddy::udp_socket& from, std::string_view bytes, const eddy::address& to = {}) {
  const auto sent = from.try_send(bytes, to);
  REQUIRE(sent.has_value());
  REQUIRE(sent->has_value());
}

/// The bytes of the next datagram that has arrived, or "nothing".
inline std::string take(eddy::udp_socket& at) {
  char bytes[65536];
  const auto d = at.try_receive(bytes);
  if (!d) return "nothing";
  REQUIRE(d->has_value());
  return std::string(bytes, (*d)->size);
}

/// Two UDP sockets at 127.0.0.1, both on one loop. Neither is connected.
struct udp_pair {
  explicit udp_pair(eddy::event_loop& loop, const eddy::socket_options& how = {})
      : near(loop, eddy::address::loopback_v4(0), how),
        far(loop, eddy::address::loopback_v4(0)),
        near_address(near.local_address()),
        far_address(far.local_address()) {}

  eddy::udp_socket near;
  eddy::udp_socket far;
  eddy::address near_address;
  eddy::address far_address;
};

/// An address at which no socket is.
inline eddy::address deserted(eddy::event_loop& loop, bool v6 = false) {
  const eddy::udp_socket gone(loop,
                              v6 ? eddy::address::loopback_v6(0) : eddy::address::loopback_v4(0));
  return gone.local_address();
}
