// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/splice_calls.h>

#include <algorithm>
#include <limits>

#include <fcntl.h>

#include <eddy/loop/event_loop.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

namespace {

constexpr auto reading = readiness::direction::read;
constexpr auto writing = readiness::direction::write;

// The limit of one call, as that of a write, so that a turn stays bounded.
constexpr std::uint64_t most_bytes = std::uint64_t{256} * 1024;

template <class Call>
ssize_t uninterrupted(Call call) {
  for (;;) {
    const ssize_t n = call();
    if (n >= 0 || errno != EINTR) return n;
  }
}

/// Notes what a call has sent. Returns whether the operation has to wait or to let others run.
bool has_to_wait(open_socket& socket, ssize_t sent, std::size_t wanted) noexcept {
  socket.set_moved(true);
  socket.set_exhausted(writing, static_cast<std::size_t>(sent) < wanted);
  socket.loop().charge(static_cast<std::size_t>(sent));
  return socket.exhausted(writing) || !socket.loop().may_go_on();
}

}  // namespace

std::optional<int> splice_in_call::attempt(open_socket& socket) {
  std::size_t wanted = std::min(size_, std::size_t{most_bytes});
  if (socket.reading_ended()) wanted = std::min(wanted, std::size_t{socket.unread()});
  ssize_t n = 0;
  if (wanted != 0) {
    n = uninterrupted([&] { return os().splice(socket.descriptor(), pipe_, wanted); });
  }
  if (n < 0) {
    if (errno != EAGAIN) return errno;
    if (!socket.reading_ended()) {
      socket.found_nothing(reading);
      return std::nullopt;
    }
    n = 0;
  }
  size_ = static_cast<std::size_t>(n);
  if (socket.reading_ended()) {
    socket.unread() = n == 0 ? 0 : socket.unread() - static_cast<std::uint32_t>(n);
  } else {
    // At the end of the stream, the next call need not wait.
    socket.set_exhausted(reading, n != 0 && size_ < wanted);
  }
  socket.loop().charge(size_);
  return 0;
}

std::optional<int> splice_out_call::attempt(open_socket& socket) {
  while (left_ != 0) {
    const ssize_t n = uninterrupted([&] { return os().splice(pipe_, socket.descriptor(), left_); });
    if (n < 0) {
      if (errno != EAGAIN) return errno;
      socket.found_nothing(writing);
      return std::nullopt;
    }
    if (n == 0) return EIO;  // the pipe has lost bytes, which does not happen
    const bool waits = has_to_wait(socket, n, left_);
    left_ -= static_cast<std::size_t>(n);
    if (left_ != 0 && waits) return std::nullopt;
  }
  return 0;
}

send_file_call::send_file_call(int file, std::uint64_t offset, std::uint64_t size) noexcept
    : file_(file),
      bad_offset_(offset > static_cast<std::uint64_t>(std::numeric_limits<off_t>::max())),
      offset_(bad_offset_ ? 0 : static_cast<off_t>(offset)),
      left_(size) {}

std::optional<int> send_file_call::attempt(open_socket& socket) {
  if (bad_offset_) return EOVERFLOW;
  while (left_ != 0) {
    const auto wanted = static_cast<std::size_t>(std::min(left_, most_bytes));
    const ssize_t n =
        uninterrupted([&] { return os().send_file(socket.descriptor(), file_, &offset_, wanted); });
    if (n < 0) {
      if (errno != EAGAIN) return errno;
      socket.found_nothing(writing);
      return std::nullopt;
    }
    if (n == 0) return 0;  // the file has ended
    // A short count may also mean that the file has ended: the next call tells.
    const bool waits = has_to_wait(socket, n, static_cast<std::size_t>(n));
    left_ -= static_cast<std::uint64_t>(n);
    sent_ += static_cast<std::uint64_t>(n);
    if (left_ != 0 && waits) return std::nullopt;
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
