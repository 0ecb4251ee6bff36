// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <string>

#include <eddy/loop/detail/language.h>

namespace eddy {

/// One server of a service, from an SRV record of DNS (RFC 2782).
struct srv_record {
  srv_record() = default;

  /// The name of the server, without a dot at the end.
  std::string host;
  std::uint16_t port = 0;
  /// Servers with a lower number are tried first.
  std::uint16_t priority = 0;
  /// Among the servers of one priority, the share of the clients that a server should get.
  std::uint16_t weight = 0;

  [[nodiscard]] friend bool operator==(const srv_record&, const srv_record&) = default;
};

}  // namespace eddy
