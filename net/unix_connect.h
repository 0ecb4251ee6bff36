// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/detail/delivery.h>
#include <eddy/net/pending_operation.h>
#include <eddy/net/unix_address.h>
#include <eddy/net/unix_seqpacket.h>
#include <eddy/net/unix_stream.h>

namespace eddy {

class event_loop;

/// Connects to the `unix_listener` at an address. The connect starts when it is awaited.
///
///     unix_stream stream = co_await connect(unix_address("/run/x.sock"));
///
/// The stream belongs to the loop of the awaiting coroutine. While the listener's queue is full,
/// the connect waits without a limit; `timeout` sets one. The kernel does not report when the queue
/// has space again, so the connect tries again after 1 ms, 2 ms, 4 ms and so on, at most 50 ms
/// apart.
///
/// Errors: `std::system_error` whose text names the address: `no_such_file_or_directory`;
/// `connection_refused` if nobody listens; `permission_denied`; `wrong_protocol_type` if the path
/// is that of a socket of another type; `invalid_argument` for an unnamed address. The kernel looks
/// an abstract name up among the sockets of one type: it gives `connection_refused` if another type
/// has the name.
/// Cancelling: destroying the awaiting coroutine closes the socket.
detail::steps_operation<unix_stream> connect(const unix_address& to);

/// Connects to the `unix_listener` at an address and calls `on_connected` with the stream or an
/// error.
///
/// The stream belongs to `loop`. While the listener's queue is full, the connect waits without a
/// limit.
///
/// Errors: the handler gets the kernel's error, or `not_enough_memory`. The call itself throws
/// `std::bad_alloc`.
/// Cancelling: stopping or destroying the `pending_operation` closes the socket and destroys the
/// handler.
pending_operation connect(event_loop& loop, const unix_address& to,
                          handler<void(result<unix_stream>)> on_connected);

/// Connects to the `unix_seqpacket_listener` at an address. The connect starts when it is awaited.
///
/// The socket belongs to the loop of the awaiting coroutine. While the listener's queue is full,
/// the connect waits without a limit; `timeout` sets one.
///
/// Errors: those of `connect` to a `unix_address`.
/// Cancelling: destroying the awaiting coroutine closes the socket.
detail::steps_operation<unix_seqpacket> connect_seqpacket(const unix_address& to);

/// Connects to the `unix_seqpacket_listener` at an address and calls `on_connected` with the socket
/// or an error.
///
/// The socket belongs to `loop`. While the listener's queue is full, the connect waits without a
/// limit.
///
/// Errors: the handler gets the kernel's error, or `not_enough_memory`. The call itself throws
/// `std::bad_alloc`.
/// Cancelling: stopping or destroying the `pending_operation` closes the socket and destroys the
/// handler.
pending_operation connect_seqpacket(event_loop& loop, const unix_address& to,
                                    handler<void(result<unix_seqpacket>)> on_connected);

}  // namespace eddy
