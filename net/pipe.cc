// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/pipe.h>

#include <array>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/net/detail/system.h>

namespace eddy {

namespace {

using detail::make_pipe_end;
using detail::os;
using detail::pipe_access;
using detail::pipe_end;
using detail::pipe_kind;

pipe_end take_over(event_loop& loop, int descriptor) {
  detail::socket_descriptor own(descriptor);
  if (os().set_non_blocking(descriptor) < 0) {
    detail::throw_errno(detail::text({"take over descriptor ", descriptor}));
  }
  return make_pipe_end(loop, own.release(), detail::pipe_itself);
}

bool is_terminal(const struct stat& status) noexcept {
  // Documentation/admin-guide/devices.txt: 5:2 is /dev/ptmx, which makes a new terminal whenever it
  // is opened. 4 are consoles and serial lines, 136 to 143 pseudo-terminals.
  if (!S_ISCHR(status.st_mode)) return false;
  const unsigned major = ::major(status.st_rdev);
  const unsigned minor = ::minor(status.st_rdev);
  return major == 4 || (major == 5 && minor < 2) || (major >= 136 && major <= 143);
}

/// Whether reads and writes never wait, and epoll refuses the descriptor. Objects without a file,
/// such as an eventfd, have no type at all.
bool is_on_disk(const struct stat& status) noexcept {
  return S_ISREG(status.st_mode) || S_ISDIR(status.st_mode) || S_ISBLK(status.st_mode);
}

/// Whether a descriptor was opened for `access`, which is O_RDONLY or O_WRONLY.
bool permits(int descriptor, int access) {
  const int flags = os().status_flags(descriptor);
  if (flags < 0) return false;
  const int own = flags & O_ACCMODE;
  return own == O_RDWR || own == access;
}

pipe_end standard_stream(event_loop& loop, int number, int access) {
  using mode = pipe_kind::mode;
  struct stat status{};
  mode how = mode::shared;
  detail::socket_descriptor own;
  if (os().file_status(number, &status) == 0) {
    if ((S_ISFIFO(status.st_mode) || is_terminal(status)) && permits(number, access)) {
      const std::string path = detail::text({"/proc/self/fd/", number});
      own = detail::socket_descriptor(os().open(path.c_str(), access | O_NONBLOCK | O_NOCTTY, 0));
      if (own.number() >= 0) how = mode::own;
    } else if (S_ISSOCK(status.st_mode)) {
      how = mode::socket;
    } else if (is_on_disk(status)) {
      how = mode::file;
    }
    if (own.number() < 0) own = detail::socket_descriptor(os().duplicate(number));
  }
  const pipe_kind& kind = detail::standard_kind(number, how);
  if (own.number() < 0) detail::throw_errno(detail::text({"use ", kind.object}));
  return make_pipe_end(loop, own.release(), kind);
}

}  // namespace

pipe_reader::pipe_reader(event_loop& loop, int descriptor)
    : pipe_base(type, take_over(loop, descriptor)) {}

pipe_writer::pipe_writer(event_loop& loop, int descriptor)
    : pipe_base(type, take_over(loop, descriptor)) {}

pipe_ends make_pipe(event_loop& loop) {
  std::array<int, 2> ends{-1, -1};
  if (os().pipe(ends.data(), O_NONBLOCK) < 0) detail::throw_errno("make a pipe");
  detail::socket_descriptor writing(ends[1]);
  pipe_end reader = make_pipe_end(loop, ends[0], detail::pipe_itself);
  pipe_end writer = make_pipe_end(loop, writing.release(), detail::pipe_itself);
  return {pipe_access::make<pipe_reader>(std::move(reader)),
          pipe_access::make<pipe_writer>(std::move(writer))};
}

pipe_reader standard_input(event_loop& loop) {
  return pipe_access::make<pipe_reader>(standard_stream(loop, 0, O_RDONLY));
}

pipe_writer standard_output(event_loop& loop) {
  return pipe_access::make<pipe_writer>(standard_stream(loop, 1, O_WRONLY));
}

pipe_writer standard_error(event_loop& loop) {
  return pipe_access::make<pipe_writer>(standard_stream(loop, 2, O_WRONLY));
}

}  // namespace eddy
