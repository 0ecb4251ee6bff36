// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <ev.h>
#include <unistd.h>

#include "bench/sockets.h"

namespace bench {

/// Stands for a C library with a watcher on the libev loop that is never ready.
class silent_library {
public:
  void start(struct ev_loop* on) {
    int ends[2];
    if (::pipe(ends) != 0) fail("pipe");
    ev_io_init(&io_, [](struct ev_loop*, ev_io*, int) {}, ends[0], EV_READ);
    ev_io_start(on, &io_);
  }

private:
  ev_io io_;
};

}  // namespace bench
