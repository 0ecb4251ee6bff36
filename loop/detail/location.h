// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <source_location>
#include <string>

#include <eddy/loop/description.h>

namespace eddy::detail {

/// Whether a co_await is in a coroutine that the user wrote.
[[nodiscard, gnu::cold]] bool is_the_users(const std::source_location& where) noexcept;

/// Adds "function at file:line".
[[gnu::cold]] void add_place(std::string& out, const std::source_location& where);

/// Sets the location of the node that is added next.
[[gnu::cold]] void set_location(description& to, const std::source_location& where);

}  // namespace eddy::detail
