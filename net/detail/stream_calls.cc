// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/stream_calls.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include <sys/socket.h>
#include <sys/uio.h>

#include <eddy/net/detail/io.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

namespace {

constexpr std::size_t most_buffers = 512;  // in one system call

ssize_t send_parts(const open_socket& socket, std::span<iovec> parts) {
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  return os().send_message(socket.descriptor(), &message, MSG_NOSIGNAL);
}

}  // namespace

unwritten::filled unwritten::fill(std::span<iovec> parts, std::size_t most) const noexcept {
  const auto* const buffers = static_cast<const const_buffer*>(first_);
  filled all{.parts = 0, .bytes = 0};
  for (; all.parts < std::min(left_, parts.size()) && all.bytes < most; ++all.parts) {
    const const_buffer& buffer = buffers[all.parts];
    const std::size_t begun = all.parts == 0 ? begun_ : 0;
    const std::size_t size = std::min(buffer.size() - begun, most - all.bytes);
    parts[all.parts].iov_base = const_cast<std::byte*>(buffer.data() + begun);
    parts[all.parts].iov_len = size;
    all.bytes += size;
  }
  return all;
}

void unwritten::skip(std::size_t written, std::size_t most) noexcept {
  const auto* buffer = static_cast<const const_buffer*>(first_);
  for (std::size_t passed = 0; left_ != 0 && passed <= most; ++passed) {
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

std::optional<int> read_call::attempt(open_socket& socket) {
  return read_some(socket, size_, {},
                   [&](std::size_t most) { return os().read(socket.descriptor(), data_, most); });
}

std::optional<int> write_some_call::attempt(open_socket& socket) {
  return write_some(socket, size_, {.most = size_}, [&](std::size_t most) {
    return os().send(socket.descriptor(), data_, most, MSG_NOSIGNAL);
  });
}

std::optional<int> write_call::attempt(open_socket& socket) {
  if (left_.of_one()) {
    return write_one(socket, left_, {}, [&](std::span<const std::byte> piece) {
      return os().send(socket.descriptor(), piece.data(), piece.size(), MSG_NOSIGNAL);
    });
  }
  return write_several<most_buffers>(
      socket, left_, {}, [&](std::span<iovec> parts) { return send_parts(socket, parts); });
}

std::optional<int> write_some_of_call::attempt(open_socket& socket) {
  unwritten left(all_);
  std::array<iovec, most_buffers> parts;
  for (;;) {
    const auto [count, wanted] = left.fill(parts, most_bytes);
    if (wanted != 0) {
      written_ = wanted;
      socket.loop().charge(count * 64);  // as in `write_several`
      return write_some(socket, written_, {}, [&](std::size_t) {
        return send_parts(socket, std::span(parts.data(), count));
      });
    }
    if (count == 0) return 0;  // all buffers are empty
    left.pass(count);
  }
}

std::optional<int> connect_call::attempt(open_socket& socket) {
  int error = 0;
  socklen_t size = sizeof error;
  if (os().get_option(socket.descriptor(), SOL_SOCKET, SO_ERROR, &error, &size) < 0) return errno;
  return error;
}

}  // namespace eddy::detail
