// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// What the echo servers of all subjects share: `echo PORT [BUFFER]`. They listen
// on 127.0.0.1, say `ready PORT`, and send back what comes until they are killed.

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace bench {

struct echo_arguments {
  std::uint16_t port;         // 0: any
  std::size_t buffer = 4096;  // the most that one read takes
};

inline echo_arguments echo_main(int count, char** words) {
  const int port = count > 1 ? std::atoi(words[1]) : -1;
  const long buffer = count > 2 ? std::atol(words[2]) : 4096;
  if (count > 3 || port < 0 || port > UINT16_MAX || buffer <= 0) {
    std::fprintf(stderr, "usage: %s PORT [BUFFER]\n", words[0]);
    std::exit(64);
  }
  return {static_cast<std::uint16_t>(port), static_cast<std::size_t>(buffer)};
}

inline constexpr int backlog = 4096;

inline void tell_ready(unsigned port) {
  std::printf("ready %u\n", port);
  std::fflush(stdout);
}

[[noreturn]] inline void fail(const char* what) {
  std::fprintf(stderr, "%s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

/// For the subjects without sockets of their own: a socket that listens, and has
/// told so.
inline int listen_at(std::uint16_t port) {
  const int one = 1;
  const int s = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (s < 0) fail("socket");
  ::setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  auto* const generic = reinterpret_cast<sockaddr*>(&at);
  if (::bind(s, generic, size) != 0) fail("bind");
  if (::listen(s, backlog) != 0) fail("listen");
  if (::getsockname(s, generic, &size) != 0) fail("getsockname");
  tell_ready(ntohs(at.sin_port));
  return s;
}

inline void set_no_delay(int s) {
  const int one = 1;
  ::setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/// The next connection; negative if there is none.
inline int accept_from(int listener) {
  const int s = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (s >= 0) set_no_delay(s);
  return s;
}

}  // namespace bench
