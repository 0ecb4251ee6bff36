// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/stream_socket.h>

#include <atomic>

namespace eddy::detail {

namespace {

// One count for the process, because a loop may change threads between making and closing a stream.
constinit std::atomic<std::size_t> streams{0};

}  // namespace

stream_socket::stream_socket(open_socket& socket) noexcept : socket_(&socket) {
  streams.fetch_add(1, std::memory_order_relaxed);
}

void stream_socket::close_socket() noexcept {
  open_socket* const dying = std::exchange(socket_, nullptr);
  streams.fetch_sub(1, std::memory_order_relaxed);
  dying->close();
  dying->release();
}

std::size_t stream_socket::count() noexcept { return streams.load(std::memory_order_relaxed); }

}  // namespace eddy::detail
