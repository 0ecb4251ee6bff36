// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// What the echo servers of all subjects share: `echo PORT [BUFFER]`.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

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

/// The server listens: `ready PORT`.
inline void tell_ready(unsigned port) {
  std::printf("ready %u\n", port);
  std::fflush(stdout);
}

}  // namespace bench
