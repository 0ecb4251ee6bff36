// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <eddy/loop/event_loop.h>
#include <eddy/net/address.h>
#include <eddy/net/detail/stream_socket.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

/// Takes over a descriptor that must be a socket of `type`, and makes it non-blocking and
/// close-on-exec. `as` is the new owner, "a tcp_stream". The descriptor is closed if this throws.
/// Errors: `std::system_error` whose text says what the descriptor is instead.
[[nodiscard]] socket_descriptor adopt(int descriptor, int type, const char* as);

/// Takes over a TCP socket, as `adopt` does.
/// Errors: as `adopt`; `address_family_not_supported` for a socket that is neither IPv4 nor IPv6.
[[nodiscard]] socket_descriptor adopt_tcp(int descriptor, const char* as);
/// Takes over a Unix socket, as `adopt` does.
/// Errors: as `adopt`; `address_family_not_supported` for a socket of another family.
[[nodiscard]] socket_descriptor adopt_unix(int descriptor, int type, const char* as);

/// Makes an open socket of a descriptor, which counts among the open streams or does not. `name` is
/// the peer's address, or empty. The descriptor is closed if this throws.
/// Errors: `std::bad_alloc`.
[[nodiscard]] stream_socket make_socket(event_loop& loop, socket_descriptor descriptor,
                                        const address& name, bool counted);

/// Makes a stream of an adopted socket, which must have a peer.
/// Errors: `std::system_error`: `not_connected`; `std::bad_alloc`.
[[nodiscard]] stream_socket expect_connected(event_loop& loop, socket_descriptor descriptor,
                                             const char* as);
/// Throws an error unless an adopted socket listens.
/// Errors: `std::system_error`: `invalid_argument`.
void expect_listening(int descriptor, const char* as);

}  // namespace eddy::detail
