// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <eddy/net/tcp_stream.h>

namespace eddy::detail {

/// Makes streams of sockets: for what accepts and what connects.
struct stream_access {
  static tcp_stream make(socket_owner socket) noexcept { return tcp_stream(std::move(socket)); }
};

}  // namespace eddy::detail
