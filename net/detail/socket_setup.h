// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

#include <eddy/net/address.h>
#include <eddy/net/socket_options.h>

namespace eddy::detail {

/// The purpose of a socket. It decides which options apply.
enum class socket_use : std::uint8_t { listener, connection, datagrams };

/// Sets the options that apply to a new socket of `family`, before it is bound or connected.
///
/// Returns null, or the name of the option that the kernel refused; `errno` is its error.
[[nodiscard]] const char* set_up(int descriptor, int family, socket_use use,
                                 const socket_options& how) noexcept;

/// Binds the socket of a `connect` to `how.local`, if that is not empty.
///
/// Returns null, or "local" if that failed; `errno` is the error.
[[nodiscard]] const char* bind_local(int descriptor, const socket_options& how) noexcept;

}  // namespace eddy::detail
