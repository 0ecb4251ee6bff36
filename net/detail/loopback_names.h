// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <string_view>

namespace eddy::detail {

/// Whether `name` is `localhost` or below it, with or without a dot at the end.
/// Such a name is this machine and nothing else (RFC 6761, 6.3).
[[nodiscard]] bool is_localhost(std::string_view name) noexcept;

/// Whether a line of /etc/hosts gives `name` an address of loopback.
[[nodiscard]] bool gives_loopback(std::string_view line, std::string_view name);

/// The same of a whole file. False if it can't be read.
[[nodiscard]] bool file_gives_loopback(const char* path, std::string_view name);

}  // namespace eddy::detail
