// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/unix_names.h>

#include <cerrno>

#include <sys/socket.h>

#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/net/detail/system.h>

// Newer than the headers of Debian 12: Linux 6.5.
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77  // NOLINT(readability-identifier-naming): the name of the kernel's headers
#endif

namespace eddy::detail {

namespace {

/// Room for the name of a socket, and the name as a `sockaddr`.
struct name_buffer {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  [[nodiscard]] sockaddr* generic() noexcept { return reinterpret_cast<sockaddr*>(&storage); }
  [[nodiscard]] unix_address address() noexcept { return unix_address::from(generic(), size); }
};

}  // namespace

unix_address local_unix_name(int descriptor) {
  name_buffer name;
  if (os().local_name(descriptor, name.generic(), &name.size) < 0) {
    throw_errno("asking for a local address");
  }
  return name.address();
}

unix_address peer_unix_name(int descriptor) {
  name_buffer name;
  if (os().peer_name(descriptor, name.generic(), &name.size) < 0) {
    throw_errno("asking for a peer's address");
  }
  return name.address();
}

unix_credentials peer_credentials(int descriptor) {
  ucred found{};
  socklen_t size = sizeof found;
  if (os().get_option(descriptor, SOL_SOCKET, SO_PEERCRED, &found, &size) < 0) {
    throw_errno("asking for a peer's credentials");
  }
  unix_credentials peer;
  peer.pid = found.pid;
  peer.uid = found.uid;
  peer.gid = found.gid;
  return peer;
}

unique_descriptor peer_pidfd(int descriptor) {
  int number = -1;
  socklen_t size = sizeof number;
  if (os().get_option(descriptor, SOL_SOCKET, SO_PEERPIDFD, &number, &size) < 0) {
    throw_errno("asking for a peer's pidfd");
  }
  return unique_descriptor(number);
}

std::string unix_words(int descriptor) {
  name_buffer own;
  if (os().local_name(descriptor, own.generic(), &own.size) < 0 ||
      own.storage.ss_family != AF_UNIX) {
    return "nowhere";
  }
  name_buffer peer;
  if (os().peer_name(descriptor, peer.generic(), &peer.size) < 0) {
    const unix_address name = own.address();
    return name.is_unnamed() ? "a unix socket without a name" : name.to_string();
  }
  const unix_address name = peer.address();
  if (!name.is_unnamed()) return name.to_string();
  ucred who{};
  socklen_t size = sizeof who;
  if (os().get_option(descriptor, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0 || who.pid <= 0) {
    return "unix peer";
  }
  return text({"unix peer, pid ", who.pid});
}

}  // namespace eddy::detail
