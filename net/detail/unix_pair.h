// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <utility>

#include <eddy/loop/event_loop.h>
#include <eddy/net/detail/stream_socket.h>

namespace eddy::detail {

/// Makes two connected Unix sockets of `type`, which count among the open streams or do not.
/// Errors: `std::system_error`; `std::bad_alloc`.
[[nodiscard]] std::pair<stream_socket, stream_socket> unix_pair(event_loop& loop, int type,
                                                                bool counted);

}  // namespace eddy::detail
