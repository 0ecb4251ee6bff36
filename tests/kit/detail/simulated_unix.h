// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <sys/stat.h>
#include <sys/types.h>

#include <eddy/net/unix_address.h>
#include <eddy/testing/detail/simulated_context.h>
#include <eddy/testing/detail/simulated_socket.h>
#include <eddy/testing/detail/simulated_streams.h>

namespace eddy::detail {

/// The names of Unix sockets: abstract ones, and files that exist only here.
///
/// As in the kernel, a call returns a negative `errno` if it fails.
class simulated_unix {
public:
  simulated_unix(simulated_context& context, simulated_streams& streams) noexcept
      : context_(context), streams_(streams) {}
  simulated_unix(const simulated_unix&) = delete;
  simulated_unix& operator=(const simulated_unix&) = delete;

  int bind(simulated_socket& socket, const unix_address& to);
  int connect(simulated_socket& socket, const unix_address& to);
  /// Ends the name of a socket. A file stays where it is.
  void close(simulated_socket& socket);

  static void pair(simulated_socket& one, simulated_socket& other);

  // The files.

  [[nodiscard]] bool has_file(const unix_address& path) const {
    return !path.is_abstract() && files_.contains(std::string(path.name()));
  }
  int status(const std::string& path, struct ::stat* what) const;
  int set_mode(const std::string& path, ::mode_t mode);
  int rename(const std::string& from, const std::string& to, bool replaces);
  int remove(const std::string& path);

private:
  struct file {
    simulated_socket* socket;  // null if it was closed
    ::ino_t inode;
    ::mode_t mode;
  };

  simulated_context& context_;
  simulated_streams& streams_;
  std::map<std::string, file> files_;
  std::map<unix_address, simulated_socket*> abstract_;
  ::ino_t last_inode_ = 0;
  unsigned last_chosen_ = 0;
};

}  // namespace eddy::detail
