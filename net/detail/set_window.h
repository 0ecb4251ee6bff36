// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// Private: no public header includes it.

#include <sys/ioctl.h>

#include <eddy/net/detail/system.h>
#include <eddy/net/pseudo_terminal.h>

namespace eddy::detail {

/// Sets the size of a terminal, as the system call does.
inline int set_window(int terminal, const window_size& size) {
  winsize w{};
  w.ws_row = size.rows;
  w.ws_col = size.columns;
  return os().set_window(terminal, &w);
}

}  // namespace eddy::detail
