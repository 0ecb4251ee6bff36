// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <expected>
#include <system_error>

#include <eddy/loop/detail/language.h>

namespace eddy {

/// The outcome that an operation gives its handler: a value, or the error of the operating
/// system or the peer.
///
/// Programming errors are never a `result`: they abort the program with a message.
template <class T>
using result = std::expected<T, std::error_code>;

}  // namespace eddy
