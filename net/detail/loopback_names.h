// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <string_view>

namespace eddy::detail {

/// Compares host names, which ignore case.
[[nodiscard]] bool same_name(std::string_view a, std::string_view b) noexcept;

/// Whether `name` is `localhost` or a name below it, with or without a dot at the end. Such a name
/// always means this machine (RFC 6761, 6.3).
[[nodiscard]] bool is_localhost(std::string_view name) noexcept;

/// Whether a line of /etc/hosts has a loopback address for `name`.
[[nodiscard]] bool gives_loopback(std::string_view line, std::string_view name);

/// Whether a file in the form of /etc/hosts has a loopback address for `name`. Returns false if the
/// file cannot be read.
[[nodiscard]] bool file_gives_loopback(const char* path, std::string_view name);

}  // namespace eddy::detail
