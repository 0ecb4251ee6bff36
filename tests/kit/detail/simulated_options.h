// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <sys/socket.h>

#include <eddy/testing/detail/simulated_socket.h>

namespace eddy::detail {

/// Sets an option of a simulated socket. Returns 0 or a negative `errno`: -EOPNOTSUPP for an option
/// that is not simulated.
[[nodiscard]] int set_simulated_option(simulated_socket& socket, int level, int name,
                                       const void* value, socklen_t size);
/// Stores the value of an option. Returns 0 or a negative `errno`.
[[nodiscard]] int get_simulated_option(simulated_socket& socket, int level, int name, void* value,
                                       socklen_t* size);

}  // namespace eddy::detail
