// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// TCP and UDP on the loopback interface, and Unix sockets, for subjects without sockets of their
// own.

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace bench {

[[noreturn]] inline void fail(const char* what) {
  std::fprintf(stderr, "%s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

inline constexpr int backlog = 4096;

inline sockaddr_in loopback(std::uint16_t port, std::uint32_t host = INADDR_LOOPBACK) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  at.sin_addr.s_addr = htonl(host);
  return at;
}

struct listener {
  int socket;  // non-blocking
  std::uint16_t port;
};

/// Listens on 127.0.0.1. Port 0 lets the system choose.
inline listener listen_on(std::uint16_t port) {
  const int one = 1;
  const int s = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (s < 0) fail("socket");
  ::setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in at = loopback(port);
  socklen_t size = sizeof at;
  auto* const generic = reinterpret_cast<sockaddr*>(&at);
  if (::bind(s, generic, size) != 0) fail("bind");
  if (::listen(s, backlog) != 0) fail("listen");
  if (::getsockname(s, generic, &size) != 0) fail("getsockname");
  return {s, ntohs(at.sin_port)};
}

/// The address of a Unix socket. The path must be short enough.
inline sockaddr_un unix_address_of(const char* path) {
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  if (std::strlen(path) >= sizeof at.sun_path) {
    errno = ENAMETOOLONG;
    fail(path);
  }
  std::strcpy(at.sun_path, path);
  return at;
}

/// Listens at a path. Returns a non-blocking socket.
inline int unix_listen_on(const char* path) {
  const sockaddr_un at = unix_address_of(path);
  const int s = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (s < 0) fail("socket");
  if (::bind(s, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) fail(path);
  if (::listen(s, backlog) != 0) fail("listen");
  return s;
}

/// Connects a blocking Unix socket to a path.
inline int unix_connect_to(const char* path) {
  const sockaddr_un to = unix_address_of(path);
  const int s = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (s < 0) fail("socket");
  if (::connect(s, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) fail(path);
  return s;
}

/// Does nothing to a Unix socket.
inline void set_no_delay(int s) {
  const int one = 1;
  ::setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/// Accepts the next connection, non-blocking. Negative if there is none.
inline int accept_from(int listener) {
  const int s = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (s >= 0) set_no_delay(s);
  return s;
}

/// Connects a blocking socket to 127.0.0.1 from the local address `host`.
inline int connect_to(std::uint16_t port, std::uint32_t host = INADDR_LOOPBACK) {
  const int one = 1;
  const int s = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (s < 0) fail("socket");
  // Lets connect choose the port instead of bind: only connect reuses a port in TIME_WAIT.
  ::setsockopt(s, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
  const sockaddr_in from = loopback(0, host);
  if (::bind(s, reinterpret_cast<const sockaddr*>(&from), sizeof from) != 0) fail("bind");
  const sockaddr_in to = loopback(port);
  if (::connect(s, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) fail("connect");
  set_no_delay(s);
  return s;
}

/// Binds a non-blocking UDP socket to 127.0.0.1. Port 0 lets the system choose.
inline listener udp_socket_on(std::uint16_t port) {
  const int s = ::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (s < 0) fail("socket");
  sockaddr_in at = loopback(port);
  socklen_t size = sizeof at;
  auto* const generic = reinterpret_cast<sockaddr*>(&at);
  if (::bind(s, generic, size) != 0) fail("bind");
  if (::getsockname(s, generic, &size) != 0) fail("getsockname");
  return {s, ntohs(at.sin_port)};
}

}  // namespace bench
