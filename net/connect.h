// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <string>

#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/address.h>
#include <eddy/net/detail/delivery.h>
#include <eddy/net/pending.h>
#include <eddy/net/tcp_stream.h>

namespace eddy {

class event_loop;

/// Opens a connection to an address. Nothing happens until it is awaited.
///
///     tcp_stream stream = co_await connect(address::loopback_v4(80));
///
/// Errors: what refused it; `std::system_error` names the address. There is no
/// limit in time but the system's of some minutes: see `timeout`. A connect to a
/// port of this machine at which nobody listens is refused also where the kernel
/// would connect the socket to itself.
/// Cancelling: the attempt is given up, and its socket closed.
detail::steps_operation<tcp_stream> connect(const address& to);

/// Opens a connection to `host`, a name or a literal address: resolves it, and
/// tries one address after the other until one accepts.
///
/// Errors: that of the resolution, or of the last address; `std::system_error`
/// names each address and what was wrong with it.
detail::steps_operation<tcp_stream> connect(std::string host, std::uint16_t port);

/// The same, calling a handler.
pending connect(event_loop& loop, const address& to,
                handler<void(result<tcp_stream>)> on_connected);
pending connect(event_loop& loop, std::string host, std::uint16_t port,
                handler<void(result<tcp_stream>)> on_connected);

}  // namespace eddy
