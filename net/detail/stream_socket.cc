// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/stream_socket.h>

#include <atomic>

namespace eddy::detail {

namespace {

// One count for the process, because a loop may change threads between making and closing a stream.
constinit std::atomic<std::size_t> streams{0};

}  // namespace

stream_socket::stream_socket(open_socket& socket, bool counted) noexcept : socket_(&socket) {
  if (!counted) return;
  socket.set_counted();
  streams.fetch_add(1, std::memory_order_relaxed);
}

void stream_socket::close_socket() noexcept {
  open_socket* const dying = std::exchange(socket_, nullptr);
  if (dying->counted()) streams.fetch_sub(1, std::memory_order_relaxed);
  dying->close();
  dying->release();
}

int stream_socket::give_up(const char* not_open) noexcept {
  static_cast<void>(checked(not_open));
  open_socket* const leaving = std::exchange(socket_, nullptr);
  if (leaving->counted()) streams.fetch_sub(1, std::memory_order_relaxed);
  const int descriptor = leaving->give_up();
  leaving->release();
  return descriptor;
}

std::size_t stream_socket::count() noexcept { return streams.load(std::memory_order_relaxed); }

}  // namespace eddy::detail
