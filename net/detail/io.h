// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cerrno>
#include <cstddef>
#include <optional>

#include <sys/types.h>

#include <eddy/net/detail/open_socket.h>

namespace eddy::detail {

// Functions and limits that the calls share which move bytes.

// The limit of one system call. Without it, a peer that reads as fast as this side writes could
// keep one call in the kernel for as long as there are bytes to send.
inline constexpr std::size_t most_bytes = std::size_t{256} * 1024;

/// Repeats the call while signals interrupt it.
template <class Call>
auto uninterrupted(Call call) {
  for (;;) {
    const auto r = call();
    if (r >= 0 || errno != EINTR) return r;
  }
}

inline bool would_block() noexcept { return errno == EAGAIN || errno == EWOULDBLOCK; }

/// Notes the result of a system call that wrote `written` of `wanted` bytes, or failed.
std::optional<int> note_written(open_socket& socket, ssize_t written, std::size_t wanted) noexcept;

}  // namespace eddy::detail
