// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/detail/delivery.h>
#include <eddy/net/pending_operation.h>

namespace eddy {

class event_loop;

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

/// Finds the servers of a service by its SRV records. The look-up starts when it is awaited.
///
///     const std::vector<srv_record> all = co_await resolve_srv("_imaps._tcp.example.org");
///
/// The result holds at least one server, in the order in which they should be tried (RFC 2782):
/// lower priorities first, and within one priority by chance, so that each server comes first as
/// often as its weight says. Each call orders the servers anew. Then `connect` to the host and port
/// of each.
///
/// Only name servers are asked, and search domains do not apply.
///
/// Errors: `std::system_error` with `resolve_error::no_service` if the name has no SRV record, or
/// one that says that there is no server; another `resolve_error`; or `not_supported` if eddy was
/// built without c-ares.
/// Cancelling: destroying the awaiting coroutine cancels the look-up.
detail::steps_operation<std::vector<srv_record>> resolve_srv(std::string name);

/// Finds the servers of a service by its SRV records, and calls `on_resolved` with the result.
///
/// The servers are in the order in which they should be tried. The awaited `resolve_srv` documents
/// the rules.
///
/// Errors: the handler gets a `resolve_error`, `not_supported` if eddy was built without c-ares, or
/// `not_enough_memory`. The call itself throws `std::bad_alloc`.
/// Cancelling: stopping or destroying the `pending_operation` cancels the look-up and destroys the
/// handler.
pending_operation resolve_srv(event_loop& loop, std::string name,
                              handler<void(result<std::vector<srv_record>>)> on_resolved);

}  // namespace eddy
