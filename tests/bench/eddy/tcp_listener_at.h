// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <eddy/loop/event_loop.h>
#include <eddy/net/tcp_listener.h>

#include "bench/echo.h"

namespace bench {

/// Listens on 127.0.0.1, and prints `ready PORT`.
inline eddy::tcp_listener tcp_listener_at(eddy::event_loop& loop, const echo_arguments& arguments) {
  eddy::tcp_listener listener(loop, eddy::address::loopback_v4(arguments.port));
  tell_ready(listener.local_address().port());
  return listener;
}

}  // namespace bench
