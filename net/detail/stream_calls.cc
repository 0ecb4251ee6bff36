// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/stream_calls.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include <sys/socket.h>
#include <sys/uio.h>

#include <eddy/loop/detail/misuse.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

namespace {

constexpr auto reading = readiness::direction::read;
constexpr auto writing = readiness::direction::write;

// How many buffers one system call takes.
constexpr std::size_t most_buffers = 64;

/// The call again if a signal interrupted it.
template <class Call>
auto uninterrupted(Call call) {
  for (;;) {
    const auto r = call();
    if (r >= 0 || errno != EINTR) return r;
  }
}

bool would_block() noexcept { return errno == EAGAIN || errno == EWOULDBLOCK; }

/// After a write of `wanted` bytes that gave `written`.
std::optional<int> judge(open_socket& socket, ssize_t written, std::size_t wanted) noexcept {
  if (written < 0 && !would_block()) return errno;
  socket.set_exhausted(writing, written < 0 || static_cast<std::size_t>(written) < wanted);
  return std::nullopt;
}

}  // namespace

read_call::read_call(mutable_buffer into) noexcept : data_(into.data()), size_(into.size()) {
  if (size_ == 0) misuse("a read into an empty buffer: its 0 bytes would look like the end");
}

std::optional<int> read_call::attempt(open_socket& socket) {
  const ssize_t n = uninterrupted([&] { return os().read(socket.descriptor(), data_, size_); });
  if (n < 0) {
    if (!would_block()) return errno;
    socket.set_exhausted(reading, true);
    return std::nullopt;
  }
  // At the end there is nothing to wait for.
  const auto count = static_cast<std::size_t>(n);
  socket.set_exhausted(reading, n != 0 && count < size_);
  size_ = count;
  return 0;
}

std::optional<int> write_some_call::attempt(open_socket& socket) {
  if (size_ == 0) return 0;
  const ssize_t n =
      uninterrupted([&] { return os().send(socket.descriptor(), data_, size_, MSG_NOSIGNAL); });
  const auto error = judge(socket, n, size_);
  if (n < 0) return error;
  size_ = static_cast<std::size_t>(n);
  return 0;
}

std::optional<int> write_call::attempt(open_socket& socket) {
  return begun_ == one_buffer ? attempt_one(socket) : attempt_several(socket);
}

std::optional<int> write_call::attempt_one(open_socket& socket) {
  if (left_ == 0) return 0;
  const ssize_t n =
      uninterrupted([&] { return os().send(socket.descriptor(), first_, left_, MSG_NOSIGNAL); });
  const auto error = judge(socket, n, left_);
  if (n < 0) return error;
  first_ = static_cast<const std::byte*>(first_) + n;
  left_ -= static_cast<std::size_t>(n);
  if (left_ != 0) return std::nullopt;
  return 0;
}

std::optional<int> write_call::attempt_several(open_socket& socket) {
  while (skip(0)) {
    std::array<iovec, most_buffers> parts;
    const std::size_t count = std::min(left_, most_buffers);
    const auto* const buffers = static_cast<const const_buffer*>(first_);
    std::size_t wanted = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t begun = i == 0 ? begun_ : 0;
      parts[i].iov_base = const_cast<std::byte*>(buffers[i].data() + begun);
      parts[i].iov_len = buffers[i].size() - begun;
      wanted += parts[i].iov_len;
    }
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = count;
    const ssize_t n = uninterrupted(
        [&] { return os().send_message(socket.descriptor(), &message, MSG_NOSIGNAL); });
    const auto error = judge(socket, n, wanted);
    if (n < 0) return error;
    if (skip(static_cast<std::size_t>(n)) && socket.exhausted(writing)) return std::nullopt;
  }
  return 0;
}

/// Goes past what was written, and past empty buffers; false at the end.
bool write_call::skip(std::size_t written) noexcept {
  const auto* buffer = static_cast<const const_buffer*>(first_);
  for (; left_ != 0; ++buffer, --left_) {
    const std::size_t rest = buffer->size() - begun_;
    if (rest > written) {
      begun_ += written;
      break;
    }
    written -= rest;
    begun_ = 0;
  }
  first_ = buffer;
  return left_ != 0;
}

std::optional<int> connect_call::attempt(open_socket& socket) {
  int error = 0;
  socklen_t size = sizeof error;
  if (os().get_option(socket.descriptor(), SOL_SOCKET, SO_ERROR, &error, &size) < 0) return errno;
  return error;
}

}  // namespace eddy::detail
