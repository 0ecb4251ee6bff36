// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <utility>

#include <eddy/loop/event_loop.h>
#include <eddy/net/detail/stream_socket.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

/// Makes two connected Unix sockets of `type`, which count among the open streams or do not.
/// Errors: `std::system_error`; `std::bad_alloc`.
[[nodiscard]] std::pair<stream_socket, stream_socket> unix_pair(event_loop& loop, int type,
                                                                bool counted);

/// Makes an open socket of a descriptor, which it then owns.
/// Errors: `std::bad_alloc`.
[[nodiscard]] stream_socket make_socket(event_loop& loop, socket_descriptor descriptor,
                                        bool counted);

}  // namespace eddy::detail
