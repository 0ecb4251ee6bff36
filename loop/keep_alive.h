// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <utility>

#include <eddy/loop/event_loop.h>

namespace eddy {

/// Keeps a loop running while nothing on it does: for work that another thread
/// will post the end of.
///
/// Lifetime: the loop outlives it.
class [[nodiscard]] keep_alive {
public:
  explicit keep_alive(event_loop& loop) noexcept : loop_(&loop) {
    loop.check_thread();
    ++loop.keepers_;
    loop.revive();
  }
  keep_alive(keep_alive&& other) noexcept : loop_(std::exchange(other.loop_, nullptr)) {}
  keep_alive& operator=(keep_alive&&) = delete;
  ~keep_alive();

private:
  event_loop* loop_;
};

}  // namespace eddy
