// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <eddy/loop/event_loop.h>
#include <eddy/net/unix_listener.h>

#include "bench/echo.h"

namespace bench {

/// Listens at a path, and prints `ready PATH`.
inline eddy::unix_listener unix_listener_at(eddy::event_loop& loop,
                                            const echo_arguments& arguments) {
  eddy::unix_listener listener(loop, eddy::unix_address(arguments.path));
  tell_ready(arguments.path);
  return listener;
}

}  // namespace bench
