// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <sys/types.h>
#include <sys/uio.h>

#include <eddy/loop/event_loop.h>
#include <eddy/net/detail/open_socket.h>
#include <eddy/net/detail/stream_calls.h>

namespace eddy::detail {

// The calls that move bytes share this code. Each call hands over its system call as a function,
// which returns the number of bytes, or sets `errno` and returns -1.

// The limit of one system call. Without it, a peer that reads as fast as this side writes could
// keep one call in the kernel for as long as there are bytes to send.
inline constexpr std::size_t most_bytes = std::size_t{256} * 1024;

/// The limits of one system call, and what its result tells.
struct io_limits {
  std::size_t most = most_bytes;
  /// Whether a short count means that no more bytes can move now.
  bool short_tells = true;
};

/// Repeats the call while signals interrupt it.
template <class Call>
auto uninterrupted(Call call) {
  for (;;) {
    const auto r = call();
    if (r >= 0 || errno != EINTR) return r;
  }
}

inline bool would_block() noexcept { return errno == EAGAIN || errno == EWOULDBLOCK; }

/// Notes that a system call failed. Returns its `errno`, or nothing if the operation has to wait.
inline std::optional<int> note_failed(open_socket& socket, readiness::direction which) noexcept {
  if (!would_block()) return errno;
  socket.found_nothing(which);
  return std::nullopt;
}

// Reading.

/// Notes the result of a system call that read `count` of `wanted` bytes, or failed. Returns the
/// outcome of the operation.
inline std::optional<int> note_read(open_socket& socket, ssize_t count, std::size_t wanted,
                                    bool short_tells = true) noexcept {
  constexpr auto reading = readiness::direction::read;
  if (count < 0) return note_failed(socket, reading);
  // At the end of the stream, the next read need not wait.
  const auto size = static_cast<std::size_t>(count);
  socket.set_exhausted(reading, size != 0 && size < wanted && short_tells);
  socket.loop().charge(size);
  return 0;
}

/// Reads no byte that arrived after `shutdown_read`; the kernel would return such bytes, too.
template <class Read>
std::optional<int> read_rest(open_socket& socket, std::size_t& size, Read read) {
  const std::size_t wanted = std::min(size, std::size_t{socket.unread()});
  ssize_t n = 0;
  if (wanted != 0) {
    n = uninterrupted([&] { return read(wanted); });
    if (n < 0 && !would_block()) return errno;
  }
  if (n <= 0) {
    size = socket.unread() = 0;
    return 0;
  }
  size = static_cast<std::size_t>(n);
  socket.unread() -= static_cast<std::uint32_t>(n);
  socket.loop().charge(size);
  return 0;
}

/// Reads the bytes that are there by one call of `read(most)`. `size` is the space for bytes, and
/// becomes the number of bytes.
template <class Read>
std::optional<int> read_some(open_socket& socket, std::size_t& size, const io_limits& limits,
                             Read read) {
  size = std::min(size, limits.most);
  if (socket.reading_ended()) [[unlikely]]
    return read_rest(socket, size, read);
  const ssize_t n = uninterrupted([&] { return read(size); });
  const std::optional<int> outcome = note_read(socket, n, size, limits.short_tells);
  if (n >= 0) size = static_cast<std::size_t>(n);
  return outcome;
}

// Writing.

/// Notes the result of a system call that wrote `count` of `wanted` bytes, or failed. Returns an
/// `errno`, or nothing: then the operation goes on, or has to wait if `count` is negative.
inline std::optional<int> note_written(open_socket& socket, ssize_t count, std::size_t wanted,
                                       bool short_tells = true) noexcept {
  constexpr auto writing = readiness::direction::write;
  if (count < 0) {
    // With TCP Fast Open, this write has begun to connect and has sent nothing yet.
    if (errno == EINPROGRESS) errno = EAGAIN;
    return note_failed(socket, writing);
  }
  socket.set_moved(true);
  socket.set_exhausted(writing, static_cast<std::size_t>(count) < wanted && short_tells);
  socket.loop().charge(static_cast<std::size_t>(count));
  return std::nullopt;
}

/// Whether a write that has bytes left must wait for space, or let others run.
inline bool must_wait(const open_socket& socket) noexcept {
  return socket.exhausted(readiness::direction::write) || !socket.loop().may_go_on();
}

/// Writes bytes by one call of `write(most)`. `size` is the number of bytes that there are, and
/// becomes the number of bytes that were written.
template <class Write>
std::optional<int> write_some(open_socket& socket, std::size_t& size, const io_limits& limits,
                              Write write) {
  if (size == 0) return 0;
  const std::size_t wanted = std::min(size, limits.most);
  const ssize_t n = uninterrupted([&] { return write(wanted); });
  const std::optional<int> error = note_written(socket, n, wanted, limits.short_tells);
  if (n < 0) return error;
  size = static_cast<std::size_t>(n);
  return 0;
}

/// Writes all bytes of one buffer by calls of `write(piece)`.
template <class Write>
std::optional<int> write_one(open_socket& socket, unwritten& left, const io_limits& limits,
                             Write write) {
  while (!left.empty()) {
    const std::span<const std::byte> piece = left.piece(limits.most);
    const ssize_t n = uninterrupted([&] { return write(piece); });
    const std::optional<int> error = note_written(socket, n, piece.size(), limits.short_tells);
    if (n < 0) return error;
    left.pass_piece(static_cast<std::size_t>(n));
    if (!left.empty() && must_wait(socket)) return std::nullopt;
  }
  return 0;
}

/// Writes all bytes of several buffers by calls of `write(parts)` with up to `Most` parts, of which
/// one at least is not empty.
template <std::size_t Most, class Write>
std::optional<int> write_several(open_socket& socket, unwritten& left, const io_limits& limits,
                                 Write write) {
  left.skip(0, Most);
  while (!left.empty()) {
    std::array<iovec, Most> parts;
    const auto [count, wanted] = left.fill(parts, limits.most);
    if (wanted == 0) {
      left.pass(count);  // all of them are empty, and there may be millions more
    } else {
      const ssize_t n = uninterrupted([&] { return write(std::span(parts.data(), count)); });
      const std::optional<int> error = note_written(socket, n, wanted, limits.short_tells);
      if (n < 0) return error;
      left.skip(static_cast<std::size_t>(n), Most);
    }
    socket.loop().charge(count * 64);  // a buffer costs about as much as 64 bytes
    if (!left.empty() && must_wait(socket)) return std::nullopt;
  }
  return 0;
}

}  // namespace eddy::detail
