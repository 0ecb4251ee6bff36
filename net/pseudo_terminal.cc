// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/pseudo_terminal.h>

#include <sys/ioctl.h>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/net/detail/set_window.h>
#include <eddy/net/detail/system.h>

namespace eddy {

using detail::callback_operation;
using detail::pipe_read_call;
using detail::pipe_write_call;

void pseudo_terminal::read(mutable_buffer into, handler<void(result<std::size_t>)> on_read) {
  detail::expect_handler(on_read, "pseudo_terminal::read");
  callback_operation<pipe_read_call>::start(socket(), pipe_read_call(into, end_.kind()),
                                            std::move(on_read));
}

std::optional<result<std::size_t>> pseudo_terminal::try_read(mutable_buffer into) {
  return detail::attempt_once(socket(), pipe_read_call(into, end_.kind()));
}

void pseudo_terminal::write(const_buffer bytes, handler<void(result<void>)> on_written) {
  detail::expect_handler(on_written, "pseudo_terminal::write");
  callback_operation<pipe_write_call>::start(socket(), pipe_write_call(bytes, end_.kind()),
                                             std::move(on_written));
}

std::optional<result<std::size_t>> pseudo_terminal::try_write(const_buffer bytes) {
  return detail::attempt_once(socket(), detail::pipe_write_some_call(bytes, end_.kind()));
}

window_size pseudo_terminal::size() const {
  winsize w{};
  if (detail::os().get_window(descriptor(), &w) < 0) {
    detail::throw_errno("asking for the size of a terminal");
  }
  return {w.ws_row, w.ws_col};
}

void pseudo_terminal::set_size(const window_size& size) {
  if (detail::set_window(descriptor(), size) < 0) {
    detail::throw_errno("setting the size of a terminal");
  }
}

}  // namespace eddy
