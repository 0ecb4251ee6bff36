// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <expected>
#include <system_error>

#include <eddy/loop/detail/language.h>

namespace eddy {

/// What an operation gives its handler: a value, or what the world did instead.
///
/// A wrong use by the program is never in it: that stops the program.
template <class T>
using result = std::expected<T, std::error_code>;

}  // namespace eddy
