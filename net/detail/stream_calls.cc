// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/stream_calls.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include <sys/socket.h>
#include <sys/uio.h>

#include <eddy/loop/detail/misuse.h>
#include <eddy/net/detail/io.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

namespace {

constexpr auto reading = readiness::direction::read;
constexpr auto writing = readiness::direction::write;

constexpr std::size_t most_buffers = 512;  // in one system call

}  // namespace

std::optional<int> note_written(open_socket& socket, ssize_t written, std::size_t wanted) noexcept {
  if (written < 0) {
    // EINPROGRESS: with TCP Fast Open, this write has begun to connect and has sent nothing yet.
    if (!would_block() && errno != EINPROGRESS) return errno;
    socket.found_nothing(writing);
    return std::nullopt;
  }
  socket.set_moved(true);
  socket.set_exhausted(writing, static_cast<std::size_t>(written) < wanted);
  socket.loop().charge(static_cast<std::size_t>(written));
  return std::nullopt;
}

read_call::read_call(mutable_buffer into) noexcept : data_(into.data()), size_(into.size()) {
  if (size_ == 0) {
    misuse("a read into an empty buffer: its result of 0 would look like the end of the stream");
  }
}

std::optional<int> read_call::attempt(open_socket& socket) {
  size_ = std::min(size_, most_bytes);
  if (socket.reading_ended()) [[unlikely]]
    return attempt_rest(socket);
  const ssize_t n = uninterrupted([&] { return os().read(socket.descriptor(), data_, size_); });
  if (n < 0) {
    if (!would_block()) return errno;
    socket.found_nothing(reading);
    return std::nullopt;
  }
  // At the end of the stream, the next read need not wait.
  const auto count = static_cast<std::size_t>(n);
  socket.set_exhausted(reading, n != 0 && count < size_);
  socket.loop().charge(count);
  size_ = count;
  return 0;
}

/// Reads no byte that arrived after `shutdown_read`; the kernel would return such bytes, too.
std::optional<int> read_call::attempt_rest(open_socket& socket) {
  const std::size_t wanted = std::min(size_, std::size_t{socket.unread()});
  ssize_t n = 0;
  if (wanted != 0) {
    n = uninterrupted([&] { return os().read(socket.descriptor(), data_, wanted); });
    if (n < 0 && !would_block()) return errno;
  }
  if (n <= 0) {
    size_ = socket.unread() = 0;
    return 0;
  }
  size_ = static_cast<std::size_t>(n);
  socket.unread() -= static_cast<std::uint32_t>(n);
  socket.loop().charge(size_);
  return 0;
}

std::optional<int> write_some_call::attempt(open_socket& socket) {
  if (size_ == 0) return 0;
  const ssize_t n =
      uninterrupted([&] { return os().send(socket.descriptor(), data_, size_, MSG_NOSIGNAL); });
  const auto error = note_written(socket, n, size_);
  if (n < 0) return error;
  size_ = static_cast<std::size_t>(n);
  return 0;
}

std::optional<int> write_call::attempt(open_socket& socket) {
  return begun_ == one_buffer ? attempt_one(socket) : attempt_several(socket);
}

std::optional<int> write_call::attempt_one(open_socket& socket) {
  while (left_ != 0) {
    const std::size_t wanted = std::min(left_, most_bytes);
    const ssize_t n =
        uninterrupted([&] { return os().send(socket.descriptor(), first_, wanted, MSG_NOSIGNAL); });
    const auto error = note_written(socket, n, wanted);
    if (n < 0) return error;
    first_ = static_cast<const std::byte*>(first_) + n;
    left_ -= static_cast<std::size_t>(n);
    if (left_ != 0 && (socket.exhausted(writing) || !socket.loop().may_go_on())) {
      return std::nullopt;
    }
  }
  return 0;
}

std::optional<int> write_call::attempt_several(open_socket& socket) {
  skip(0);
  while (left_ != 0) {
    const auto* const buffers = static_cast<const const_buffer*>(first_);
    std::array<iovec, most_buffers> parts;
    std::size_t count = 0;
    std::size_t wanted = 0;
    for (; count < std::min(left_, most_buffers) && wanted < most_bytes; ++count) {
      const std::size_t begun = count == 0 ? begun_ : 0;
      const std::size_t size = std::min(buffers[count].size() - begun, most_bytes - wanted);
      parts[count].iov_base = const_cast<std::byte*>(buffers[count].data() + begun);
      parts[count].iov_len = size;
      wanted += size;
    }
    ssize_t n = 0;
    if (wanted == 0) {
      // All of them are empty, and there may be millions more.
      first_ = buffers + count;
      left_ -= count;
    } else {
      msghdr message{};
      message.msg_iov = parts.data();
      message.msg_iovlen = count;
      n = uninterrupted(
          [&] { return os().send_message(socket.descriptor(), &message, MSG_NOSIGNAL); });
      const auto error = note_written(socket, n, wanted);
      if (n < 0) return error;
      skip(static_cast<std::size_t>(n));
    }
    socket.loop().charge(count * 64);  // a buffer costs about as much as 64 bytes
    if (left_ != 0 && (socket.exhausted(writing) || !socket.loop().may_go_on())) {
      return std::nullopt;
    }
  }
  return 0;
}

/// Advances past the written bytes, and past the empty buffers that follow them.
void write_call::skip(std::size_t written) noexcept {
  const auto* buffer = static_cast<const const_buffer*>(first_);
  for (std::size_t passed = 0; left_ != 0 && passed <= most_buffers; ++passed) {
    const std::size_t rest = buffer->size() - begun_;
    if (rest > written) {
      begun_ += written;
      break;
    }
    written -= rest;
    begun_ = 0;
    ++buffer;
    --left_;
  }
  first_ = buffer;
}

std::optional<int> connect_call::attempt(open_socket& socket) {
  int error = 0;
  socklen_t size = sizeof error;
  if (os().get_option(socket.descriptor(), SOL_SOCKET, SO_ERROR, &error, &size) < 0) return errno;
  return error;
}

}  // namespace eddy::detail
