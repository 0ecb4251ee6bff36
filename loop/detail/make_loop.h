// SPDX-License-Identifier: BSD-2-Clause
#pragma once

struct ev_loop;

namespace eddy::detail {

/// A libev loop of its own on epoll, for which a failed allocation is no death.
/// Errors: `std::system_error` if no descriptor is free.
[[nodiscard]] struct ev_loop* make_loop();

}  // namespace eddy::detail
