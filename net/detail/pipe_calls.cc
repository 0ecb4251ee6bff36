// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/pipe_calls.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <eddy/loop/detail/misuse.h>
#include <eddy/net/detail/io.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

namespace {

constexpr auto reading = readiness::direction::read;
constexpr auto writing = readiness::direction::write;
using mode = pipe_kind::mode;

// The limits of one system call, as those of a TCP stream. A file never makes its caller wait, so
// its calls are shorter: 64 KiB cost about 10 us from the page cache.
constexpr std::size_t most_buffers = 64;
constexpr std::size_t most_of_file = std::size_t{64} * 1024;

std::size_t most_of(const pipe_kind& kind) noexcept {
  return kind.how == mode::file ? most_of_file : most_bytes;
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

/// Notes the result of a system call that wrote `written` of `wanted` bytes, or failed.
std::optional<int> note_written(open_socket& socket, const pipe_kind& kind, ssize_t written,
                                std::size_t wanted) noexcept {
  if (written < 0) {
    if (!would_block()) return errno;
    socket.found_nothing(writing);
    return std::nullopt;
  }
  socket.set_moved(true);
  // A shared write may have been shortened here, so that nothing follows from its size.
  const bool filled = static_cast<std::size_t>(written) < wanted;
  socket.set_exhausted(writing, filled && kind.how != mode::shared && kind.how != mode::file);
  socket.loop().charge(static_cast<std::size_t>(written));
  return std::nullopt;
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

pipe_read_call::pipe_read_call(mutable_buffer into, const pipe_kind& kind) noexcept
    : kind_(&kind), data_(into.data()), size_(into.size()) {
  if (size_ == 0) {
    misuse("a read into an empty buffer: its result of 0 would look like the end of the stream");
  }
}

std::optional<int> pipe_read_call::attempt(open_socket& socket) {
  size_ = std::min(size_, most_of(*kind_));
  ssize_t n = uninterrupted([&] { return read_from(socket.descriptor(), *kind_, data_, size_); });
  // Linux says so when no process has the terminal open any more.
  if (n < 0 && errno == EIO && kind_ == &terminal_master) n = 0;
  if (n < 0) {
    if (!would_block()) return errno;
    socket.found_nothing(reading);
    return std::nullopt;
  }
  // At the end of the stream, the next read need not wait.
  const auto count = static_cast<std::size_t>(n);
  socket.set_exhausted(reading, n != 0 && count < size_ && kind_->how != mode::file);
  socket.loop().charge(count);
  size_ = count;
  return 0;
}

std::optional<int> pipe_write_some_call::attempt(open_socket& socket) {
  if (size_ == 0) return 0;
  const std::size_t wanted = std::min(size_, most_of(*kind_));
  iovec part{const_cast<std::byte*>(data_), wanted};
  const ssize_t n =
      uninterrupted([&] { return write_to(socket.descriptor(), *kind_, {&part, 1}); });
  const auto error = note_written(socket, *kind_, n, wanted);
  if (n < 0) return error;
  size_ = static_cast<std::size_t>(n);
  return 0;
}

std::optional<int> pipe_write_call::attempt(open_socket& socket) {
  skip(0);
  while (left_ != 0) {
    std::array<iovec, most_buffers> parts;
    std::size_t count = 0;
    std::size_t wanted = 0;
    const std::size_t most = most_of(*kind_);
    for (; count < std::min(left_, most_buffers) && wanted < most; ++count) {
      const std::size_t begun = count == 0 ? begun_ : 0;
      const std::size_t size = std::min(first()[count].size() - begun, most - wanted);
      parts[count].iov_base = const_cast<std::byte*>(first()[count].data() + begun);
      parts[count].iov_len = size;
      wanted += size;
    }
    if (wanted == 0) {
      pass(count);  // all of them are empty, and there may be millions more
    } else {
      const ssize_t n = uninterrupted(
          [&] { return write_to(socket.descriptor(), *kind_, std::span(parts.data(), count)); });
      const auto error = note_written(socket, *kind_, n, wanted);
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
void pipe_write_call::skip(std::size_t written) noexcept {
  for (std::size_t passed = 0; left_ != 0 && passed <= most_buffers; ++passed) {
    const std::size_t rest = first()->size() - begun_;
    if (rest > written) {
      begun_ += written;
      break;
    }
    written -= rest;
    begun_ = 0;
    pass(1);
  }
}

}  // namespace eddy::detail
