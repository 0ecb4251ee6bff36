// SPDX-License-Identifier: BSD-2-Clause
// The echo server of samples/echo/callback.cc, unchanged, on a simulated network.
#include <cstdint>

#include <doctest/doctest.h>

#include <eddy/testing/simulated_network.h>

#define main main_of_echo_callback
#include "../../samples/echo/callback.cc"
#undef main

#include "support/served_in_memory.h"

TEST_CASE("the echo server of callback.cc runs on a simulated network") {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) serve_in_memory<echo_server>(seed);
}
