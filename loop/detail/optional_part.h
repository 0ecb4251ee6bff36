// SPDX-License-Identifier: BSD-2-Clause
#pragma once

namespace eddy {
class event_loop;
}

namespace eddy::detail {

/// A part of a loop that only some programs use. It is made at its first use,
/// and only what makes it names its class: the others don't link it.
class optional_part {
public:
  optional_part() = default;
  optional_part(const optional_part&) = delete;
  optional_part& operator=(const optional_part&) = delete;
  virtual ~optional_part() = default;

  /// Whether `gather` would queue something.
  [[nodiscard]] virtual bool pending() const noexcept { return false; }

  /// Queues what has come.
  virtual void gather(event_loop&) noexcept {}

  /// After fork, when the loop's own descriptors are this process's.
  /// Errors: `std::system_error`.
  virtual void renew(event_loop&) = 0;
};

}  // namespace eddy::detail
