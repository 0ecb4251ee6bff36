// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <string>

#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/address.h>
#include <eddy/net/detail/delivery.h>
#include <eddy/net/pending_operation.h>
#include <eddy/net/socket_options.h>
#include <eddy/net/tcp_stream.h>

namespace eddy {

class event_loop;

/// Opens a TCP connection to an address. The connect starts when it is awaited.
///
///     tcp_stream stream = co_await connect(address::loopback_v4(80));
///
/// The stream belongs to the loop of the awaiting coroutine. Without `how.address_limit`, the only
/// time limit is the kernel's, of some minutes; `timeout` sets a shorter one.
///
/// Errors: `std::system_error` whose text names the address. Its code is the kernel's error, or
/// `invalid_argument` for an empty address. At a local port without a listener, the kernel may
/// connect a socket to itself; this is reported as `connection_refused`.
/// Cancelling: destroying the awaiting coroutine closes the socket.
///
/// The members of `how` that apply: `local`, `reuse_address`, `reuse_port`, `device`, `mark`,
/// `transparent`, `freebind`, the buffers, `fast_open`, `user_timeout` and `address_limit`. The
/// text of an error names an option that was refused.
detail::steps_operation<tcp_stream> connect(const address& to,
                                            const socket_options& how = socket_options());

/// Opens a TCP connection to `host`, which is a name or an address without a port.
///
/// The connect starts when it is awaited. It resolves the name, and then tries the addresses as
/// Happy Eyeballs version 2 does (RFC 8305), so that a broken IPv6 or a silent address costs a
/// quarter of a second and not minutes:
///
/// - The addresses are tried in the order of `resolve`, but IPv6 and IPv4 take turns.
/// - The next address is tried when an attempt has failed, or at the latest `how.attempt_delay`,
///   250 ms, after the one before. Earlier attempts go on.
/// - The first attempt that connects wins. The sockets of the others are closed before the caller
///   gets the stream.
///
/// The stream belongs to the loop of the awaiting coroutine. `how.address_limit` is a limit for
/// each address; without it, the only limit is the kernel's, of some minutes. `timeout` limits the
/// whole.
///
/// Errors: `std::system_error` with the error of `resolve`, or of the address that was tried last.
/// Its text names each address that was tried, with the error of that address.
/// Cancelling: destroying the awaiting coroutine closes all sockets, or cancels the `resolve`.
///
/// `how` holds for each address. With `how.local`, addresses of the other family fail.
detail::steps_operation<tcp_stream> connect(std::string host, std::uint16_t port,
                                            const socket_options& how = socket_options());

/// Opens a TCP connection to an address and calls `on_connected` with the stream or an error.
///
/// The stream belongs to `loop`. The only time limit is the kernel's, of some minutes.
///
/// Errors: the handler gets the kernel's error; `invalid_argument` for an empty address; or
/// `not_enough_memory`. The call itself throws `std::bad_alloc`.
/// Cancelling: stopping or destroying the `pending_operation` closes the socket and destroys the
/// handler.
pending_operation connect(event_loop& loop, const address& to,
                          handler<void(result<tcp_stream>)> on_connected);
/// Opens a TCP connection to an address with options, and calls `on_connected` with the stream or
/// an error. The text of `how.device` must outlive the operation.
pending_operation connect(event_loop& loop, const address& to, const socket_options& how,
                          handler<void(result<tcp_stream>)> on_connected);

/// Opens a TCP connection to `host`, a name or an address without a port, and calls `on_connected`.
///
/// The operation resolves the name and then tries the addresses as the awaited `connect` does: IPv6
/// and IPv4 take turns, and an address that is silent for 250 ms does not delay the next one (Happy
/// Eyeballs, RFC 8305). The stream belongs to `loop`. The only time limit is the kernel's, of some
/// minutes for each address.
///
/// Errors: the handler gets the error of `resolve` or of the address that was tried last, or
/// `not_enough_memory`. The call itself throws `std::bad_alloc`.
/// Cancelling: stopping or destroying the `pending_operation` closes all sockets, or cancels the
/// `resolve`, and destroys the handler.
pending_operation connect(event_loop& loop, std::string host, std::uint16_t port,
                          handler<void(result<tcp_stream>)> on_connected);
/// Opens a TCP connection to `host` with options that hold for each address, and calls
/// `on_connected`. The text of `how.device` must outlive the operation.
pending_operation connect(event_loop& loop, std::string host, std::uint16_t port,
                          const socket_options& how,
                          handler<void(result<tcp_stream>)> on_connected);

}  // namespace eddy
