// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/pseudo_terminal.h>

#include <sys/ioctl.h>

#include <eddy/loop/detail/throw_error.h>
#include <eddy/net/detail/set_window.h>
#include <eddy/net/detail/system.h>

namespace eddy {

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
