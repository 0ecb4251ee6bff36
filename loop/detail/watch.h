// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <system_error>

#include <eddy/loop/readiness.h>
#include <eddy/loop/ready.h>

namespace eddy::detail {

class engine;

/// One descriptor that is watched: at most one who waits to read, one to write.
///
/// The kernel goes on watching when a wait has ended, because the next wait
/// usually follows: only an event that nobody waits for stops that.
///
/// A process has one for each of its many thousands of sockets: think before
/// you add a member.
struct watch {
  using direction = readiness::direction;
  static constexpr std::array directions{direction::read, direction::write};

  /// The kernel is not asked yet: if it refuses, the first wait is told.
  /// Errors: `std::bad_alloc`.
  watch(engine& e, int number);
  watch(event_loop& loop, int number);
  watch(const watch&) = delete;
  watch& operator=(const watch&) = delete;
  ~watch() { end(); }

  /// The waits end without a call, and `descriptor` is negative from now on.
  void end() noexcept;

  /// Queues `node` when `which` is ready, or at once if the watch has failed.
  void wait(direction which, ready_node& node) noexcept;
  /// Ends the wait without a call.
  void forget(direction which) noexcept;
  /// Whether a wait keeps the loop running.
  void set_background(bool on) noexcept;

  [[nodiscard]] ready_node*& waiter(direction which) noexcept {
    return waiters[static_cast<std::size_t>(which)];
  }
  [[nodiscard]] event_loop& loop() const noexcept;
  [[nodiscard]] std::error_code failure() const noexcept {
    return {error, std::generic_category()};
  }

  engine* owner;
  std::array<ready_node*, 2> waiters{};
  watch* same_descriptor = nullptr;  // the next one in the engine's table
  int descriptor;
  std::uint16_t error = 0;
  bool background = false;

private:
  friend class engine;
  void fail(int why) noexcept;
};

}  // namespace eddy::detail
