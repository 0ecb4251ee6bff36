// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/pipe_calls.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <eddy/net/detail/io.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

namespace {

using mode = pipe_kind::mode;

// The limits of one system call, as those of a TCP stream. A file never makes its caller wait, so
// its calls are shorter: 64 KiB cost about 10 us from the page cache.
constexpr std::size_t most_buffers = 64;
constexpr std::size_t most_of_file = std::size_t{64} * 1024;

std::size_t most_of(const pipe_kind& kind) noexcept {
  return kind.how == mode::file ? most_of_file : most_bytes;
}

io_limits read_limits(const pipe_kind& kind) noexcept {
  return {.most = most_of(kind), .short_tells = kind.how != mode::file};
}

// A shared write may be shortened here, so that nothing follows from its size.
io_limits write_limits(const pipe_kind& kind) noexcept {
  const bool tells = kind.how != mode::shared && kind.how != mode::file;
  return {.most = most_of(kind), .short_tells = tells};
}

/// Whether `descriptor` has one of `events`; otherwise `errno` says why not.
bool ready(int descriptor, short events) {
  const int r = os().poll(descriptor, events);
  if (r == 0) errno = EAGAIN;
  return r > 0;
}

// A terminal, and a pipe before Linux 6.4, know no RWF_NOWAIT. A read after a poll blocks only if
// another process takes the bytes in between.
ssize_t read_shared(int descriptor, void* data, std::size_t size) {
  const ssize_t n = os().read_now(descriptor, data, size);
  if (n >= 0 || errno != EOPNOTSUPP) return n;
  return ready(descriptor, POLLIN) ? os().read(descriptor, data, size) : -1;
}

// A pipe that is ready has space for PIPE_BUF bytes: a longer write would block.
ssize_t write_shared(int descriptor, std::span<iovec> parts) {
  const ssize_t n = os().write_now(descriptor, parts.data(), static_cast<int>(parts.size()));
  if (n >= 0 || errno != EOPNOTSUPP) return n;
  if (!ready(descriptor, POLLOUT)) return -1;
  iovec first = *std::ranges::find_if(parts, [](const iovec& p) { return p.iov_len != 0; });
  first.iov_len = std::min(first.iov_len, std::size_t{PIPE_BUF});
  return os().write(descriptor, &first, 1);
}

ssize_t read_from(int descriptor, const pipe_kind& kind, void* data, std::size_t size) {
  switch (kind.how) {
    case mode::socket: return os().receive(descriptor, data, size, MSG_DONTWAIT);
    case mode::shared: return read_shared(descriptor, data, size);
    default: return os().read(descriptor, data, size);
  }
}

/// Writes parts of which one at least is not empty.
ssize_t write_to(int descriptor, const pipe_kind& kind, std::span<iovec> parts) {
  switch (kind.how) {
    case mode::socket: {
      msghdr message{};
      message.msg_iov = parts.data();
      message.msg_iovlen = parts.size();
      return os().send_message(descriptor, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    case mode::shared: return write_shared(descriptor, parts);
    default: return os().write(descriptor, parts.data(), static_cast<int>(parts.size()));
  }
}

ssize_t write_to(int descriptor, const pipe_kind& kind, std::span<const std::byte> bytes) {
  iovec part{.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
  return write_to(descriptor, kind, {&part, 1});
}

constexpr const char* names[] = {"the standard input", "the standard output", "the standard error"};
constexpr mode modes[] = {mode::own, mode::file, mode::socket, mode::shared};

}  // namespace

constinit const pipe_kind pipe_itself{"a pipe", mode::own};
constinit const pipe_kind terminal_master{"a pseudo-terminal", mode::own};

const pipe_kind& standard_kind(int number, pipe_kind::mode how) noexcept {
  static constexpr auto all = [] {
    std::array<std::array<pipe_kind, 4>, 3> made{};
    for (std::size_t n = 0; n < 3; ++n) {
      for (std::size_t m = 0; m < 4; ++m) made[n][m] = {names[n], modes[m]};
    }
    return made;
  }();
  return all[static_cast<std::size_t>(number)][static_cast<std::size_t>(how)];
}

std::optional<int> pipe_read_call::attempt(open_socket& socket) {
  return read_some(socket, size_, read_limits(*kind_), [&](std::size_t most) {
    const ssize_t n = read_from(socket.descriptor(), *kind_, data_, most);
    // Linux says so when no process has the terminal open any more.
    return n < 0 && errno == EIO && kind_ == &terminal_master ? ssize_t{0} : n;
  });
}

std::optional<int> pipe_write_some_call::attempt(open_socket& socket) {
  return write_some(socket, size_, write_limits(*kind_), [&](std::size_t most) {
    return write_to(socket.descriptor(), *kind_, std::span(data_, most));
  });
}

std::optional<int> pipe_write_call::attempt(open_socket& socket) {
  const io_limits limits = write_limits(*kind_);
  if (left_.of_one()) {
    return write_one(socket, left_, limits, [&](std::span<const std::byte> piece) {
      return write_to(socket.descriptor(), *kind_, piece);
    });
  }
  return write_several<most_buffers>(socket, left_, limits, [&](std::span<iovec> parts) {
    return write_to(socket.descriptor(), *kind_, parts);
  });
}

}  // namespace eddy::detail
