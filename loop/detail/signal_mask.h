// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

namespace eddy::detail {

/// The set of signals that a thread blocks.
class signal_mask {
public:
  /// Returns the mask of this thread.
  [[nodiscard]] static signal_mask current() noexcept;

  /// Returns the mask of a worker without a job. It blocks the signals that are sent to the
  /// process, for which the kernel chooses one of its threads. It does not block signals that
  /// report a fault of the thread itself, nor SIGPROF, by which profilers see all threads.
  [[nodiscard]] static signal_mask of_idle_worker() noexcept;

  /// Returns this mask without the signals that report a fault, so that a handler that reports
  /// crashes can run.
  [[nodiscard]] signal_mask without_faults() const noexcept;

  /// Makes this thread block the signals of this mask, and no others.
  void install() const noexcept;

  friend bool operator==(signal_mask, signal_mask) noexcept = default;

private:
  explicit signal_mask(std::uint64_t bits) noexcept : bits_(bits) {}

  std::uint64_t bits_;  // signal 1 is the lowest bit
};

}  // namespace eddy::detail
