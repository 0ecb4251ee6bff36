// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <system_error>

#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/readiness.h>
#include <eddy/loop/ready_node.h>

namespace eddy::detail {

class readiness_source;
class watch_set;

/// libev's `ev_io`, without its header, which no installed header includes. watch_set.cc asserts
/// that both have the same layout.
struct io_watcher {
  int active = 0;
  int pending = 0;
  int priority = 0;
  watch_set* data = nullptr;
  void (*callback)() = nullptr;
  io_watcher* next = nullptr;  // the next watcher of the same descriptor
  int fd;
  int events = 0;
};

/// Watches one descriptor. At most one node waits to read, and one to write.
///
/// libev goes on watching when a wait has completed, because the next wait usually follows. Only
/// an event without a waiter stops that.
///
/// A process has a watch for each of its many thousands of sockets: think before you add a
/// member.
struct watch : recycled {
  using direction = readiness::direction;
  static constexpr std::array directions{direction::read, direction::write};

  /// Makes a watch that libev does not have yet. If the kernel refuses the descriptor, the first
  /// wait reports that.
  /// Errors: `std::bad_alloc`.
  watch(watch_set& all, int number);
  watch(event_loop& loop, int number);
  watch(const watch&) = delete;
  watch& operator=(const watch&) = delete;
  ~watch() { end(); }

  /// Ends the waits without running their nodes. `descriptor` is negative from now on.
  void end() noexcept;

  /// Queues `node` when the descriptor is ready in the direction `which`, or at once if the
  /// watch has failed. A watch that the kernel has refused for want of memory or space is shown
  /// to the kernel again.
  void wait(direction which, ready_node& node) noexcept;
  /// Ends the wait without running its node.
  void forget(direction which) noexcept;
  /// Decides whether the waits are in the background. A wait in the background does not keep the
  /// loop running.
  void set_background(bool on) noexcept;

  [[nodiscard]] ready_node*& waiter(direction which) noexcept {
    return waiters[static_cast<std::size_t>(which)];
  }
  /// Whether a node of another watch waits to read the same descriptor.
  [[nodiscard]] bool others_wait() const noexcept;
  [[nodiscard]] int descriptor() const noexcept { return io.fd; }
  [[nodiscard]] event_loop& loop() const noexcept;
  [[nodiscard]] std::error_code failure() const noexcept {
    return {error, std::generic_category()};
  }
  /// Returns the failure, for a caller that tries again. A refusal by the kernel is reported
  /// once.
  [[nodiscard]] std::error_code take_failure() noexcept {
    const std::error_code told = failure();
    forgive_refusal();
    return told;
  }

  io_watcher io;  // first: libev's callback finds the watch by it
  std::array<ready_node*, 2> waiters{};
  std::uint16_t error = 0;
  bool background = false;
  bool shown : 1 = false;     // the kernel was told what this watch wants
  bool entered : 1 = false;   // the kernel may have an entry for the descriptor
  bool checked : 1 = false;   // the change was checked, and may reach the kernel before eddy knows
  bool pollable : 1 = false;  // epoll watches it: a socket or a pipe, for example, not a file
  std::uint32_t changed = 0;  // the position among the changed watches, from one on

private:
  friend class readiness_source;
  friend class watch_set;
  /// Completes the wait, and puts its node first in `list`. False if no node waits.
  bool arrive(direction which, list_node& list) noexcept;
  void fail(int why) noexcept;
  void forgive_refusal() noexcept;
};

}  // namespace eddy::detail
