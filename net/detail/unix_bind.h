// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <optional>
#include <string>
#include <utility>

#include <sys/types.h>

#include <eddy/net/unix_address.h>

namespace eddy::detail {

/// The file of a bound socket. Removes the file when it is destroyed, if it is still the same file.
///
/// Only the process that bound the socket removes the file, and not one that it forked.
class socket_file {
public:
  /// No file.
  socket_file() noexcept = default;
  socket_file(const unix_address& path, ::dev_t device, ::ino_t inode) noexcept;
  socket_file(socket_file&& other) noexcept
      : path_(std::exchange(other.path_, unix_address())),
        device_(other.device_),
        inode_(other.inode_),
        owner_(other.owner_) {}
  socket_file& operator=(socket_file&& other) noexcept;
  ~socket_file() { remove(); }

  /// Removes the file. The socket must still be open: another file may get the inode's number then.
  void remove() noexcept;
  /// Leaves the file where it is.
  void keep() noexcept { path_ = unix_address(); }

private:
  unix_address path_;  // unnamed if there is no file
  ::dev_t device_ = 0;
  ::ino_t inode_ = 0;
  ::pid_t owner_ = 0;
};

/// How a socket is bound to a path. These have no effect on an abstract address.
struct unix_binding {
  bool replace_stale = false;
  std::optional<unsigned> permissions;
};

/// Binds `descriptor`. `doing` begins the error's text: "listen at /run/x.sock".
/// Errors: `std::system_error`.
[[nodiscard]] socket_file bind_unix(int descriptor, const unix_address& local,
                                    const unix_binding& how, const std::string& doing);

}  // namespace eddy::detail
