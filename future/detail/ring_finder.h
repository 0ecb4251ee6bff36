// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>

#include <eddy/loop/detail/misuse.h>

namespace eddy::detail {

class frame;

/// Detects that a walk along the await tree goes round in a ring of tasks that await each other,
/// once the walk has seen the whole ring (R. P. Brent, "An improved Monte Carlo factorization
/// algorithm", BIT 20, 1980).
class ring_finder {
public:
  [[nodiscard]] bool closed_by(const frame* next) noexcept {
    if (next == seen_) return true;
    if (++steps_ == most_) {
      seen_ = next;
      steps_ = 0;
      most_ *= 2;
    }
    return false;
  }

private:
  const frame* seen_ = nullptr;
  std::size_t steps_ = 0;
  std::size_t most_ = 64;
};

/// Stops the program, because tasks await each other.
[[noreturn, gnu::cold]] inline void stop_at_ring() noexcept {
  misuse("a task awaited its own future, or the future of a task that awaits it");
}

}  // namespace eddy::detail
