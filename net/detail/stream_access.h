// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <utility>

#include <eddy/net/detail/open_socket.h>
#include <eddy/net/detail/stream_socket.h>

namespace eddy::detail {

/// Makes streams from sockets, for `accept` and `connect`, and gives the sockets of streams, for
/// operations that are no members.
struct stream_access {
  template <class Stream>
  static Stream make(stream_socket socket) noexcept {
    return Stream(std::move(socket));
  }
  template <class Stream>
  static open_socket& socket(Stream& stream) noexcept {
    return stream.socket();
  }
};

}  // namespace eddy::detail
