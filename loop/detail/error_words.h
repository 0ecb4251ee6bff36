// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <exception>
#include <span>
#include <string>

namespace eddy::detail {

/// Returns `heading` and the message of each error, cut off at 4,096 bytes with a mark that
/// there are more.
[[nodiscard, gnu::cold]] std::string words_of(std::string heading,
                                              std::span<const std::exception_ptr> errors);

}  // namespace eddy::detail
