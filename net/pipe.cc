// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/pipe.h>

#include <array>
#include <cerrno>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/net/detail/system.h>

namespace eddy {

namespace {

using detail::attempt_once;
using detail::callback_operation;
using detail::os;
using detail::pipe_end;
using detail::pipe_kind;
using detail::pipe_read_call;
using detail::pipe_write_call;

pipe_end take_over(event_loop& loop, int descriptor) {
  detail::socket_descriptor own(descriptor);
  if (os().set_non_blocking(descriptor) < 0) {
    detail::throw_errno(detail::text({"take over descriptor ", descriptor}));
  }
  return {loop, own.release(), detail::pipe_itself};
}

bool is_terminal(const struct stat& status) noexcept {
  // Documentation/admin-guide/devices.txt: 5:2 is /dev/ptmx, which makes a new terminal whenever it
  // is opened. 4 are consoles and serial lines, 136 to 143 pseudo-terminals.
  if (!S_ISCHR(status.st_mode)) return false;
  const unsigned major = ::major(status.st_rdev);
  const unsigned minor = ::minor(status.st_rdev);
  return major == 4 || (major == 5 && minor < 2) || (major >= 136 && major <= 143);
}

pipe_end standard_stream(event_loop& loop, int number, int access) {
  using mode = pipe_kind::mode;
  struct stat status{};
  mode how = mode::shared;
  detail::socket_descriptor own;
  if (os().file_status(number, &status) == 0) {
    if (S_ISFIFO(status.st_mode) || is_terminal(status)) {
      const std::string path = detail::text({"/proc/self/fd/", number});
      own = detail::socket_descriptor(os().open(path.c_str(), access | O_NONBLOCK | O_NOCTTY, 0));
      if (own.number() >= 0) how = mode::own;
    } else if (S_ISSOCK(status.st_mode)) {
      how = mode::socket;
    } else if (!S_ISCHR(status.st_mode)) {
      how = mode::file;
    }
    if (own.number() < 0) own = detail::socket_descriptor(os().duplicate(number));
  }
  const pipe_kind& kind = detail::standard_kind(number, how);
  if (own.number() < 0) detail::throw_errno(detail::text({"use ", kind.object}));
  return {loop, own.release(), kind};
}

}  // namespace

pipe_reader::pipe_reader(event_loop& loop, int descriptor) : end_(take_over(loop, descriptor)) {}

void pipe_reader::read(mutable_buffer into, handler<void(result<std::size_t>)> on_read) {
  detail::expect_handler(on_read, "pipe_reader::read");
  callback_operation<pipe_read_call>::start(socket(), pipe_read_call(into, end_.kind()),
                                            std::move(on_read));
}

std::optional<result<std::size_t>> pipe_reader::try_read(mutable_buffer into) {
  return attempt_once(socket(), pipe_read_call(into, end_.kind()));
}

void pipe_reader::wait_readable(handler<void(result<void>)> on_readable) {
  detail::expect_handler(on_readable, "pipe_reader::wait_readable");
  using call = detail::pipe_wait_call<readiness::direction::read>;
  callback_operation<call>::start(socket(), call(end_.kind()), std::move(on_readable));
}

pipe_writer::pipe_writer(event_loop& loop, int descriptor) : end_(take_over(loop, descriptor)) {}

void pipe_writer::write(const_buffer bytes, handler<void(result<void>)> on_written) {
  detail::expect_handler(on_written, "pipe_writer::write");
  callback_operation<pipe_write_call>::start(socket(), pipe_write_call(bytes, end_.kind()),
                                             std::move(on_written));
}

void pipe_writer::write(std::span<const const_buffer> buffers,
                        handler<void(result<void>)> on_written) {
  detail::expect_handler(on_written, "pipe_writer::write");
  callback_operation<pipe_write_call>::start(socket(), pipe_write_call(buffers, end_.kind()),
                                             std::move(on_written));
}

std::optional<result<std::size_t>> pipe_writer::try_write(const_buffer bytes) {
  return attempt_once(socket(), detail::pipe_write_some_call(bytes, end_.kind()));
}

void pipe_writer::wait_writable(handler<void(result<void>)> on_writable) {
  detail::expect_handler(on_writable, "pipe_writer::wait_writable");
  using call = detail::pipe_wait_call<readiness::direction::write>;
  callback_operation<call>::start(socket(), call(end_.kind()), std::move(on_writable));
}

pipe_ends make_pipe(event_loop& loop) {
  std::array<int, 2> ends{-1, -1};
  if (os().pipe(ends.data(), O_NONBLOCK) < 0) detail::throw_errno("make a pipe");
  detail::socket_descriptor writing(ends[1]);
  pipe_end reader(loop, ends[0], detail::pipe_itself);
  pipe_end writer(loop, writing.release(), detail::pipe_itself);
  return {detail::pipe_access::make_reader(std::move(reader)),
          detail::pipe_access::make_writer(std::move(writer))};
}

pipe_reader standard_input(event_loop& loop) {
  return detail::pipe_access::make_reader(standard_stream(loop, 0, O_RDONLY));
}

pipe_writer standard_output(event_loop& loop) {
  return detail::pipe_access::make_writer(standard_stream(loop, 1, O_WRONLY));
}

pipe_writer standard_error(event_loop& loop) {
  return detail::pipe_access::make_writer(standard_stream(loop, 2, O_WRONLY));
}

}  // namespace eddy
