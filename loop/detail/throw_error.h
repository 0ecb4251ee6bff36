// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <exception>
#include <string_view>
#include <system_error>

namespace eddy::detail {

/// Throws the `std::system_error` of an error and what was being done. Out of
/// line: each of that class's constructors would add a kilobyte to a program.
[[noreturn, gnu::cold]] void throw_error(std::error_code error, std::string_view doing);
[[noreturn, gnu::cold]] void throw_error(std::errc error, std::string_view doing);

/// The same of `errno`.
[[noreturn, gnu::cold]] void throw_errno(std::string_view doing);

/// What `throw_error` throws.
[[nodiscard, gnu::cold]] std::exception_ptr as_exception(std::error_code error,
                                                         std::string_view doing) noexcept;

}  // namespace eddy::detail
