// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/unix_pair.h>

#include <array>

#include <sys/socket.h>

#include <eddy/loop/detail/throw_error.h>
#include <eddy/net/detail/adopt.h>

namespace eddy::detail {

std::pair<stream_socket, stream_socket> unix_pair(event_loop& loop, int type, bool counted) {
  std::array<int, 2> both{};
  if (os().socket_pair(type | SOCK_NONBLOCK | SOCK_CLOEXEC, both.data()) < 0) {
    throw_errno("make a pair of sockets");
  }
  socket_descriptor first(both[0]);
  socket_descriptor second(both[1]);
  stream_socket near = make_socket(loop, std::move(first), address(), counted);
  stream_socket far = make_socket(loop, std::move(second), address(), counted);
  return {std::move(near), std::move(far)};
}

}  // namespace eddy::detail
