// SPDX-License-Identifier: BSD-2-Clause
//
// Linked to a server, this lets a test take its memory away: after the signal
// SIGRTMIN + n, n - 1 more allocations succeed and the others fail; after
// SIGRTMIN, all succeed again.

#include <csignal>
#include <cstddef>
#include <optional>

#include <eddy/testing/failing_new.h>

namespace {

constinit std::optional<eddy::detail::failing_allocations> shortage;

// The server has one thread, and a test sends the signal while that one waits.
void set_shortage(int number) noexcept {
  shortage.reset();
  const auto spared = static_cast<std::size_t>(number - SIGRTMIN);
  if (spared == 0) return;
  shortage.emplace(spared - 1, eddy::detail::failing_allocations::times::for_good);
}

struct at_start {
  at_start() {
    for (int n = SIGRTMIN; n <= SIGRTMAX; ++n) std::signal(n, &set_shortage);
  }
};
const at_start installed;

}  // namespace
