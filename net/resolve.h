// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <string>
#include <system_error>
#include <vector>

#include <eddy/future/task.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/address.h>
#include <eddy/net/detail/delivery.h>
#include <eddy/net/pending.h>

namespace eddy {

class event_loop;

/// What a name's resolution may end with: the answers of getaddrinfo.
enum class resolve_error : std::uint8_t {
  /// There is no such name.
  not_found = 1,
  /// The name has no address.
  no_address,
  /// No name server answered; it may be different later.
  try_again,
  /// A name server refused or failed for good.
  failed,
};

[[nodiscard]] const std::error_category& resolve_category() noexcept;
[[nodiscard]] inline std::error_code make_error_code(resolve_error e) noexcept {
  return {static_cast<int>(e), resolve_category()};
}

/// Finds the addresses of `host`, with `port` in each, in the order in which
/// they should be tried; at least one. A literal address is itself.
///
/// The system's resolver looks names up on worker threads, with all that the
/// machine is set up for: /etc/hosts, DNS, and so on. Nothing happens until it is
/// awaited.
///
///     const std::vector<address> all = co_await resolve("example.org", 80);
///
/// `localhost`, `localhost.` and names below them give addresses of loopback on
/// every machine: those that the system's resolver has for `localhost`, or else
/// 127.0.0.1 and ::1. Names that are loopback in /etc/hosts give the addresses
/// that stand there, of both families. A machine that has no IPv6 address is told
/// no IPv6 addresses of other names, and one without IPv4 no IPv4 addresses.
///
/// These workers do nothing else, so that name servers which don't answer delay
/// no `run_blocking`. At most 16 look-ups for which somebody waits run at a time;
/// the others wait in their order. A look-up whose waiter has gone is dropped if
/// it has not begun, and else no longer counts: others take its place, with up to
/// 64 threads in all.
///
/// Errors: `resolve_error`, or the system's.
/// Cancelling: what a worker has begun goes on to its end, unseen.
detail::steps_operation<std::vector<address>> resolve(std::string host, std::uint16_t port);

/// The same, calling a handler.
pending resolve(event_loop& loop, std::string host, std::uint16_t port,
                handler<void(result<std::vector<address>>)> on_resolved);

namespace detail {
/// The steps, for `connect`.
task<reported<std::vector<address>>> resolve_steps(std::string host, std::uint16_t port);
}  // namespace detail

}  // namespace eddy

template <>
struct std::is_error_code_enum<eddy::resolve_error> : std::true_type {};
