// SPDX-License-Identifier: BSD-2-Clause
#pragma once

namespace eddy {
class event_loop;
}

namespace eddy::detail {

/// A part of a loop that only some programs use. It is made at its first use, and only the code
/// that makes it names its class. Programs without that code do not link the part.
class optional_part {
public:
  optional_part() = default;
  optional_part(const optional_part&) = delete;
  optional_part& operator=(const optional_part&) = delete;
  virtual ~optional_part() = default;

  /// Whether `gather` would queue a node.
  [[nodiscard]] virtual bool pending() const noexcept { return false; }

  /// Queues the nodes whose events have arrived.
  virtual void gather(event_loop&) noexcept {}

  /// Called after a fork, when the loop's own descriptors belong to this process alone.
  /// Errors: `std::system_error`, `std::bad_alloc`. The part tries again by itself.
  virtual void renew(event_loop&) = 0;
};

}  // namespace eddy::detail
