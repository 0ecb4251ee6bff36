// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <utility>

#include <eddy/loop/detail/loop_access.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

/// Keeps a loop running even if nothing else on the loop does so. Use it while another thread does
/// work and will post the result.
///
/// Lifetime: the loop must outlive the guard.
class [[nodiscard]] work_guard {
public:
  explicit work_guard(event_loop& loop) noexcept : loop_(&loop) {
    loop.check_thread();
    detail::loop_access(loop).add_keeper();
    detail::loop_access(loop).revive();
  }
  work_guard(work_guard&& other) noexcept : loop_(std::exchange(other.loop_, nullptr)) {}
  work_guard& operator=(work_guard&&) = delete;
  ~work_guard();

private:
  event_loop* loop_;
};

}  // namespace eddy
