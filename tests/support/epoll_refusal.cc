// SPDX-License-Identifier: BSD-2-Clause
#include "support/epoll_refusal.h"

#include <atomic>
#include <cerrno>

#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

constinit std::atomic<int> refused{0};

}  // namespace

epoll_refusal::epoll_refusal(int count) noexcept { refused = count; }

epoll_refusal::~epoll_refusal() { refused = 0; }

// In the place of the C library's, also for libev.
extern "C" int epoll_ctl(int set, int operation, int descriptor, epoll_event* event) noexcept {
  if (operation == EPOLL_CTL_ADD && refused > 0 && refused-- > 0) {
    errno = ENOSPC;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_epoll_ctl, set, operation, descriptor, event));
}
