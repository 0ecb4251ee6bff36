// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <chrono>
#include <string_view>

namespace eddy::detail {

/// How long and how often each name server is asked.
struct name_limits {
  name_limits() = default;

  /// Reads the options "timeout:3 attempts:2" of `words`, and ignores all others.
  void read(std::string_view words) noexcept;

  std::chrono::milliseconds timeout{std::chrono::seconds(5)};  // resolv.conf(5)
  int tries = 0;                                               // zero: the default of c-ares
};

/// The limits in a file in the form of /etc/resolv.conf. The limits in `variable`, the value of
/// RES_OPTIONS, come before those of the file. `variable` may be null.
[[nodiscard]] name_limits limits_in(const char* path, const char* variable);

/// The limits of a program where they are more than zero, and else those of the system. c-ares 1.18
/// does not read the latter.
[[nodiscard]] name_limits limits_of(std::chrono::milliseconds timeout, int tries);

}  // namespace eddy::detail
