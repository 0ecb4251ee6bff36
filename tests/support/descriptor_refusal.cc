// SPDX-License-Identifier: BSD-2-Clause
#include "support/descriptor_refusal.h"

#include <atomic>
#include <cerrno>

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

constinit std::atomic<int> refused{0};

int open(long number, int flags) noexcept {
  if (refused > 0 && refused-- > 0) {
    errno = EMFILE;
    return -1;
  }
  return static_cast<int>(::syscall(number, flags));
}

}  // namespace

descriptor_refusal::descriptor_refusal(int count) noexcept { refused = count; }

descriptor_refusal::~descriptor_refusal() { refused = 0; }

// These replace the functions of the C library, for libev too.
extern "C" int epoll_create1(int flags) noexcept { return open(SYS_epoll_create1, flags); }
extern "C" int inotify_init1(int flags) noexcept { return open(SYS_inotify_init1, flags); }
