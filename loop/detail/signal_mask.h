// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

namespace eddy::detail {

/// The signals that a thread blocks.
class signal_mask {
public:
  /// The mask of this thread.
  [[nodiscard]] static signal_mask current() noexcept;

  /// The mask of a worker without a job. It blocks the signals that are sent to the
  /// process, for which the kernel chooses one of its threads. It does not block a
  /// signal that tells a thread of its own fault, nor SIGPROF, by which profilers see
  /// all threads.
  [[nodiscard]] static signal_mask of_idle_worker() noexcept;

  /// The same without those that tell of a fault: a handler that reports crashes
  /// must not be kept from that.
  [[nodiscard]] signal_mask without_faults() const noexcept;

  /// Has this thread block these, and no others.
  void install() const noexcept;

  friend bool operator==(signal_mask, signal_mask) noexcept = default;

private:
  explicit signal_mask(std::uint64_t bits) noexcept : bits_(bits) {}

  std::uint64_t bits_;  // that of signal 1 is the lowest
};

}  // namespace eddy::detail
