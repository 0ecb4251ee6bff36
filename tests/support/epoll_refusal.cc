// SPDX-License-Identifier: BSD-2-Clause
#include "support/epoll_refusal.h"

#include <atomic>
#include <cerrno>

#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

constinit std::atomic<int> refused{0};
constinit std::atomic<int> target{-1};  // negative: any

}  // namespace

epoll_refusal::epoll_refusal(int count, int descriptor) noexcept {
  target = descriptor;
  refused = count;
}

epoll_refusal::~epoll_refusal() { refused = 0; }

// Replaces the C library's epoll_ctl, for libev too.
extern "C" int epoll_ctl(int set, int operation, int descriptor, epoll_event* event) noexcept {
  const bool meant = operation == EPOLL_CTL_ADD && (target < 0 || target == descriptor);
  if (meant && refused > 0 && refused-- > 0) {
    errno = ENOSPC;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_epoll_ctl, set, operation, descriptor, event));
}
