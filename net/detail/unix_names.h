// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <string>

#include <eddy/net/unique_descriptor.h>
#include <eddy/net/unix_address.h>
#include <eddy/net/unix_credentials.h>

namespace eddy::detail {

/// The address to which a socket is bound.
/// Errors: `std::system_error`.
[[nodiscard]] unix_address local_unix_name(int descriptor);
/// The address of the peer.
/// Errors: `std::system_error`.
[[nodiscard]] unix_address peer_unix_name(int descriptor);

/// The process of the peer: SO_PEERCRED.
/// Errors: `std::system_error`.
[[nodiscard]] unix_credentials peer_credentials(int descriptor);
/// A descriptor of the peer's process: SO_PEERPIDFD.
/// Errors: `std::system_error`.
[[nodiscard]] unique_descriptor peer_pidfd(int descriptor);

/// Names the peer of a Unix socket, or else the socket's own address, in a message: "/run/x.sock"
/// or "unix peer, pid 812". Names other sockets "nowhere".
[[nodiscard, gnu::cold]] std::string unix_words(int descriptor);

}  // namespace eddy::detail
