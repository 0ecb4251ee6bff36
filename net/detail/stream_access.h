// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <utility>

#include <eddy/net/detail/stream_socket.h>
#include <eddy/net/tcp_stream.h>

namespace eddy::detail {

/// Makes streams from sockets, for `accept` and `connect`.
struct stream_access {
  static tcp_stream make(stream_socket socket) noexcept { return tcp_stream(std::move(socket)); }
};

}  // namespace eddy::detail
