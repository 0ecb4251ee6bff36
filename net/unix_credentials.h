// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <sys/types.h>

#include <eddy/loop/detail/language.h>

namespace eddy {

/// The process at the other end of a Unix socket, as the kernel recorded it.
///
/// The kernel records it when the peer connects, listens or makes a pair of sockets. A process that
/// got the socket later, by a fork or with a message, is not told apart. Decide by `uid` and `gid`:
/// a `pid` may belong to another process by now, and `peer_pidfd` may not.
struct unix_credentials {
  ::pid_t pid = 0;  ///< zero if the process is not visible from this PID namespace
  ::uid_t uid = 0;
  ::gid_t gid = 0;

  [[nodiscard]] friend bool operator==(const unix_credentials&,
                                       const unix_credentials&) noexcept = default;
};

}  // namespace eddy
