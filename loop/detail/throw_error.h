// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <exception>
#include <string_view>
#include <system_error>

namespace eddy::detail {

/// Throws a `std::system_error` of an error and the activity that failed. Not inline: each
/// constructor of that class would add a kilobyte to a program.
[[noreturn, gnu::cold]] void throw_error(std::error_code error, std::string_view doing);
[[noreturn, gnu::cold]] void throw_error(std::errc error, std::string_view doing);

/// Throws a `std::system_error` of `errno` and the activity that failed.
[[noreturn, gnu::cold]] void throw_errno(std::string_view doing);

/// Returns the exception that `throw_error` throws.
[[nodiscard, gnu::cold]] std::exception_ptr as_exception(std::error_code error,
                                                         std::string_view doing) noexcept;

}  // namespace eddy::detail
