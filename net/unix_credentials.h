// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <sys/types.h>

#include <eddy/loop/detail/language.h>

namespace eddy {

/// The process at the other end of a Unix socket, as the kernel recorded it.
///
/// The kernel records the process that connects, listens or makes a pair of sockets. If another
/// process gets the socket later, by a fork or with a message, these members do not change. Decide
/// by `uid` and `gid`: the `pid` may belong to another process by now. The descriptor that
/// `peer_pidfd` returns always refers to the recorded process.
struct unix_credentials {
  ::pid_t pid = 0;  ///< zero if the process is not visible from this PID namespace
  ::uid_t uid = 0;
  ::gid_t gid = 0;

  [[nodiscard]] friend bool operator==(const unix_credentials&,
                                       const unix_credentials&) noexcept = default;
};

}  // namespace eddy
