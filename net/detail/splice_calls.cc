// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/splice_calls.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include <fcntl.h>

#include <eddy/net/detail/io.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

namespace {

// The kernel refuses a part of a file that ends beyond this offset.
constexpr auto most_offset = static_cast<std::uint64_t>(std::numeric_limits<off_t>::max());

}  // namespace

std::optional<int> splice_in_call::attempt(open_socket& socket) {
  return read_some(socket, size_, {}, [&](std::size_t most) {
    return os().splice_in(socket.descriptor(), pipe_, most);
  });
}

std::optional<int> splice_out_call::attempt(open_socket& socket) {
  const ssize_t n =
      uninterrupted([&] { return os().splice_out(pipe_, socket.descriptor(), size_); });
  if (n == 0) return EIO;  // the pipe has lost bytes, which does not happen
  const std::optional<int> error = note_written(socket, n, size_);
  if (n < 0) return error;
  size_ = static_cast<std::size_t>(n);
  return 0;
}

send_file_call::send_file_call(int file, std::uint64_t offset, std::uint64_t size) noexcept
    : file_(file),
      bad_offset_(offset >= most_offset),
      offset_(bad_offset_ ? 0 : static_cast<off_t>(offset)),
      left_(bad_offset_ ? 0 : std::min(size, most_offset - offset)) {}

std::optional<int> send_file_call::attempt(open_socket& socket) {
  if (bad_offset_) return EOVERFLOW;
  while (left_ != 0) {
    const auto wanted = static_cast<std::size_t>(std::min(left_, std::uint64_t{most_bytes}));
    const ssize_t n =
        uninterrupted([&] { return os().send_file(socket.descriptor(), file_, &offset_, wanted); });
    if (n == 0) return 0;  // the file has ended
    // A short count may also mean that the file has ended: the next call tells.
    const std::optional<int> error = note_written(socket, n, wanted, false);
    if (n < 0) return error;
    left_ -= static_cast<std::uint64_t>(n);
    sent_ += static_cast<std::uint64_t>(n);
    if (left_ != 0 && must_wait(socket)) return std::nullopt;
  }
  return 0;
}

splice_pipe::splice_pipe() noexcept {
  if (os().pipe(ends_, O_NONBLOCK) < 0) ends_[0] = ends_[1] = -1;
}

splice_pipe::~splice_pipe() {
  if (!made()) return;
  os().close(ends_[0]);
  os().close(ends_[1]);
}

}  // namespace eddy::detail
