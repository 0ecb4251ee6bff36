// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <exception>
#include <span>
#include <string>

namespace eddy::detail {

/// `heading`, and the words of each error after it; 4,096 bytes at most, and then
/// what says that there are more.
[[nodiscard, gnu::cold]] std::string words_of(std::string heading,
                                              std::span<const std::exception_ptr> errors);

}  // namespace eddy::detail
