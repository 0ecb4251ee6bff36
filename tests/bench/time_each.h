// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// The times that a load prints.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "bench/sockets.h"

namespace bench {

inline double nanoseconds_of(clockid_t clock) {
  std::timespec t{};
  if (::clock_gettime(clock, &t) != 0) fail("clock_gettime");
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

/// Calls `work` with a tenth of `count` as a warm-up, then with `count`, and prints the times
/// of one operation.
template <class Work>
void time_each(std::uint64_t count, std::uint64_t least, const char* server, Work work) {
  work(count / 10 + least);
  clockid_t clock = CLOCK_PROCESS_CPUTIME_ID;
  if (server != nullptr && ::clock_getcpuclockid(std::atoi(server), &clock) != 0) {
    fail("the server");
  }
  const double cpu = nanoseconds_of(clock);
  const double wall = nanoseconds_of(CLOCK_MONOTONIC);
  work(count);
  const auto each = static_cast<double>(count);
  const double wall_each = (nanoseconds_of(CLOCK_MONOTONIC) - wall) / each;
  const double cpu_each = (nanoseconds_of(clock) - cpu) / each;
  std::printf("wall %.1f cpu %.1f\n", wall_each, cpu_each);
}

}  // namespace bench
