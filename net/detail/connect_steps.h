// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// The steps of a connect to a name, for `connect` and `resolver`.

#include <cstdint>
#include <string>
#include <vector>

#include <eddy/future/task.h>
#include <eddy/net/address.h>
#include <eddy/net/detail/delivery.h>
#include <eddy/net/detail/dns_query.h>
#include <eddy/net/socket_options.h>
#include <eddy/net/tcp_stream.h>

namespace eddy::detail {

/// "connect to host.example:80".
[[nodiscard]] std::string words_of_connect(const std::string& host, std::uint16_t port);

/// Looks a name up, and connects to its addresses.
///
/// If c-ares does it, the families are asked for apart. The race begins with the addresses of IPv6
/// when they come; or with those of IPv4, if IPv6 has no answer within 50 ms after them, the
/// resolution delay of RFC 8305, 3. Addresses that come later join the race.
[[nodiscard]] task<reported<tcp_stream>> connect_to_name(std::string host, std::uint16_t port,
                                                         socket_options how, dns_options servers);

/// Connects to the first of `all` that accepts. `doing` begins the words of an error.
[[nodiscard]] task<reported<tcp_stream>> connect_to_any(std::string doing, std::vector<address> all,
                                                        socket_options how);

}  // namespace eddy::detail
