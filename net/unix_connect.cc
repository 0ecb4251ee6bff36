// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/unix_connect.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

#include <sys/socket.h>

#include <eddy/future/sleep.h>
#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/net/detail/adopt.h>
#include <eddy/net/detail/stream_access.h>
#include <eddy/net/detail/system.h>

namespace eddy {

namespace {

using detail::failure;
using detail::os;
using std::chrono::milliseconds;

// As for `send_to_call`: a listener that is busy for a moment costs little time, and one that hangs
// costs 20 system calls a second.
constexpr milliseconds first_pause{1};
constexpr milliseconds longest_pause{50};

/// Tries once. Returns zero or the `errno`.
int try_to_connect(const detail::socket_descriptor& descriptor, const unix_address& to) {
  sockaddr_storage name;
  const socklen_t size = to.to(name);
  for (;;) {
    const auto* const generic = reinterpret_cast<const sockaddr*>(&name);
    if (os().connect(descriptor.number(), generic, size) == 0 || errno == EISCONN) return 0;
    if (errno != EINTR) return errno;
  }
}

failure failed(int error, const unix_address& to) {
  return {std::error_code(error, std::generic_category()), "connect to " + to.to_string()};
}

template <class Stream>
task<detail::reported<Stream>> connect_to(unix_address to) {
  constexpr int type = std::is_same_v<Stream, unix_stream> ? SOCK_STREAM : SOCK_SEQPACKET;
  event_loop& loop = detail::current_loop("connect");
  if (to.is_unnamed()) co_return std::unexpected(failed(EINVAL, to));
  detail::socket_descriptor descriptor(
      os().socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (descriptor.number() < 0) co_return std::unexpected(failed(errno, to));
  int error = try_to_connect(descriptor, to);
  for (milliseconds pause = first_pause; error == EAGAIN;
       pause = std::min(2 * pause, longest_pause)) {
    co_await sleep(pause);
    error = try_to_connect(descriptor, to);
  }
  if (error != 0) co_return std::unexpected(failed(error, to));
  detail::stream_socket socket = detail::make_socket(loop, std::move(descriptor), address(), true);
  co_return detail::stream_access::make<Stream>(std::move(socket));
}

}  // namespace

detail::steps_operation<unix_stream> connect(const unix_address& to) {
  return detail::steps_operation(connect_to<unix_stream>(to));
}

pending_operation connect(event_loop& loop, const unix_address& to,
                          handler<void(result<unix_stream>)> on_connected) {
  detail::expect_handler(on_connected, "connect");
  return detail::delivery<unix_stream>::start(loop, connect_to<unix_stream>(to),
                                              std::move(on_connected));
}

detail::steps_operation<unix_seqpacket> connect_seqpacket(const unix_address& to) {
  return detail::steps_operation(connect_to<unix_seqpacket>(to));
}

pending_operation connect_seqpacket(event_loop& loop, const unix_address& to,
                                    handler<void(result<unix_seqpacket>)> on_connected) {
  detail::expect_handler(on_connected, "connect_seqpacket");
  return detail::delivery<unix_seqpacket>::start(loop, connect_to<unix_seqpacket>(to),
                                                 std::move(on_connected));
}

}  // namespace eddy
