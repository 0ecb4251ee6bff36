// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// The code that the echo servers of all subjects share: `echo ADDRESS [BUFFER [VARIANT]]`. ADDRESS
// is a port of 127.0.0.1, or, for some of them, the path of a Unix socket, with a slash. The
// servers listen there, print `ready ADDRESS`, and send back all bytes that they receive until they
// are killed.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <string_view>

#include "bench/sockets.h"

namespace bench {

/// The variant `idle` closes a connection that has been silent for this time.
inline constexpr int idle_seconds = 60;

struct echo_arguments {
  std::uint16_t port = 0;      // 0: the system chooses
  const char* path = nullptr;  // of a Unix socket; null: TCP
  std::size_t buffer = 4096;   // the limit of one read
  std::string_view variant;    // empty: none
};

/// `variants` lists the variants of this server.
inline echo_arguments echo_main(int count, char** words,
                                std::initializer_list<std::string_view> variants = {}) {
  const char* const path = count > 1 && std::strchr(words[1], '/') != nullptr ? words[1] : nullptr;
  const int port = path != nullptr ? 0 : count > 1 ? std::atoi(words[1]) : -1;
  const long buffer = count > 2 ? std::atol(words[2]) : 4096;
  const std::string_view variant = count > 3 ? words[3] : "";
  bool known = count <= 3;
  for (const std::string_view v : variants) known = known || v == variant;
  if (count > 4 || port < 0 || port > UINT16_MAX || buffer <= 0 || !known) {
    std::fprintf(stderr, "usage: %s PORT|PATH [BUFFER [VARIANT]]; variants:", words[0]);
    for (const std::string_view v : variants) std::fprintf(stderr, " %s", v.data());
    std::fprintf(stderr, variants.size() == 0 ? " none\n" : "\n");
    std::exit(64);
  }
  return {static_cast<std::uint16_t>(port), path, static_cast<std::size_t>(buffer), variant};
}

/// The same for a server that listens only at a path.
inline echo_arguments unix_echo_main(int count, char** words) {
  const echo_arguments arguments = echo_main(count, words);
  if (arguments.path == nullptr) {
    std::fprintf(stderr, "usage: %s PATH [BUFFER]\n", words[0]);
    std::exit(64);
  }
  return arguments;
}

using echo_server_of = void (*)(const echo_arguments&);

/// `main` of a server with these variants.
inline int echo_variants_main(int count, char** words, echo_server_of idle, echo_server_of adopted,
                              echo_server_of native) {
  const echo_arguments arguments = echo_main(count, words, {"idle", "adopted", "native"});
  if (arguments.variant == "adopted") {
    adopted(arguments);
  } else if (arguments.variant == "native") {
    native(arguments);
  } else if (arguments.variant == "idle") {
    idle(arguments);
  } else {
    return 64;
  }
  return 0;
}

inline void tell_ready(unsigned port) {
  std::printf("ready %u\n", port);
  std::fflush(stdout);
}

inline void tell_ready(const char* path) {
  std::printf("ready %s\n", path);
  std::fflush(stdout);
}

/// Listens, prints `ready ADDRESS`, and returns the socket. For subjects without sockets of their
/// own.
inline int listen_at(const echo_arguments& arguments) {
  if (arguments.path != nullptr) {
    const int s = unix_listen_on(arguments.path);
    tell_ready(arguments.path);
    return s;
  }
  const listener l = listen_on(arguments.port);
  tell_ready(l.port);
  return l.socket;
}

/// Binds a UDP socket, prints `ready PORT`, and returns the socket.
inline int udp_socket_at(std::uint16_t port) {
  const listener l = udp_socket_on(port);
  tell_ready(l.port);
  return l.socket;
}

}  // namespace bench
