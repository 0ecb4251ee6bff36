// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <system_error>

#include <eddy/loop/detail/recycler.h>
#include <eddy/loop/readiness.h>
#include <eddy/loop/ready.h>

namespace eddy::detail {

class watch_set;

/// libev's `ev_io`, whose header no installed one includes: watch_set.cc asserts
/// that the two are laid out alike.
struct io_watcher {
  int active = 0;
  int pending = 0;
  int priority = 0;
  watch_set* data = nullptr;
  void (*callback)() = nullptr;
  io_watcher* next = nullptr;  // on the same descriptor
  int fd;
  int events = 0;
};

/// Watches one descriptor: at most one node waits to read, and one to write.
///
/// libev goes on watching when a wait has ended, because the next wait usually
/// follows. Only an event that nobody waits for stops that.
///
/// A process has one for each of its many thousands of sockets: think before
/// you add a member.
struct watch : recycled {
  using direction = readiness::direction;
  static constexpr std::array directions{direction::read, direction::write};

  /// libev is not told yet. If the kernel refuses, the first wait is told.
  /// Errors: `std::bad_alloc`.
  watch(watch_set& all, int number);
  watch(event_loop& loop, int number);
  watch(const watch&) = delete;
  watch& operator=(const watch&) = delete;
  ~watch() { end(); }

  /// The waits end without a call, and `descriptor` is negative from now on.
  void end() noexcept;

  /// Queues `node` when `which` is ready, or at once if the watch has failed. One that
  /// the kernel has refused for want of memory or room is shown to it again.
  void wait(direction which, ready_node& node) noexcept;
  /// Ends the wait without a call.
  void forget(direction which) noexcept;
  /// Whether a wait keeps the loop running.
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
  /// The same, for who goes on to try again: a refusal is told once.
  [[nodiscard]] std::error_code take_failure() noexcept {
    const std::error_code told = failure();
    forgive_refusal();
    return told;
  }

  io_watcher io;  // first: libev's callback finds the watch by it
  std::array<ready_node*, 2> waiters{};
  std::uint16_t error = 0;
  bool background = false;
  bool shown : 1 = false;     // the kernel was told of what it wants
  bool entered : 1 = false;   // and may have an entry for it
  bool checked : 1 = false;   // and may be in the kernel's set before this is known
  bool pollable : 1 = false;  // it was a socket or a pipe, say, and no file
  std::uint32_t changed = 0;  // the place, from one on, among the changed ones

private:
  friend class watch_set;
  /// Ends the wait, and puts its node before the others of `list`. False if nobody waits.
  bool arrive(direction which, link& list) noexcept;
  void fail(int why) noexcept;
  void forgive_refusal() noexcept;
};

}  // namespace eddy::detail
