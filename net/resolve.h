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
#include <eddy/net/pending_operation.h>

namespace eddy {

class event_loop;

/// The reasons why a look-up has no result.
///
/// The text of an error names the host, and the name servers that were asked if they are those of a
/// `resolver`: "resolve host.example, asked 192.0.2.53:53: no name server gave an answer; try again
/// later".
enum class resolve_error : std::uint8_t {
  /// The name does not exist.
  not_found = 1,
  /// The name exists, and has no address of a family that this machine uses.
  no_address,
  /// No name server gave an answer: none replied, or those that replied could not answer (SERVFAIL,
  /// NOTIMP) or refused the query (REFUSED). A later attempt may succeed.
  try_again,
  /// A name server sent another error, or an answer that cannot be read. A later attempt is not
  /// expected to succeed.
  failed,
  /// The service is unknown, or the name has no server for it.
  no_service,
};

/// The category of error codes that hold a `resolve_error`.
[[nodiscard]] const std::error_category& resolve_category() noexcept;
[[nodiscard]] inline std::error_code make_error_code(resolve_error e) noexcept {
  return {static_cast<int>(e), resolve_category()};
}

/// Finds the addresses of `host`, each with `port`. The look-up starts when it is awaited.
///
///     const std::vector<address> all = co_await resolve("example.org", 80);
///
/// The result holds at least one address, in the order in which they should be tried. If `host` is
/// an address without a port, such as `::1`, it is the only result. `getaddrinfo` and this function
/// also read other forms of IPv4, such as `127.1` and `0x7f000001`; a number that begins with 0 is
/// octal (inet_aton(3)). Any other `host` is a name, and is looked up as the machine is configured:
/// in /etc/hosts, by DNS, and so on.
///
/// - If eddy was built with c-ares, c-ares reads /etc/hosts and asks name servers on the loop,
///   without a thread, if that gives the same answer as `getaddrinfo`. It does not if
///   /etc/nsswitch.conf names other services for hosts than `files` and `dns`, which may know the
///   name. The services `mdns4_minimal` and the like know only names below `.local`, and
///   `myhostname` only the machine's own name.
/// - Otherwise, `getaddrinfo` looks the name up on a worker thread.
///
/// Both obey these rules:
///
/// - Name servers are asked only for names of letters, digits, `-`, `_` and dots that do not begin
///   with `-`. Others, such as `a*b` and names with an umlaut, are `not_found`. An international
///   name has a form for DNS, which begins with `xn--`. Names of over 1000 bytes are `not_found`.
/// - `localhost`, `localhost.` and names below them always have loopback addresses: those of
///   `localhost` in /etc/hosts, or else 127.0.0.1 and ::1.
/// - A name with a loopback address in /etc/hosts has the addresses of that file, IPv4 and IPv6.
/// - For any other name, IPv6 addresses are left out if the only IPv6 addresses of this machine are
///   loopback addresses. The same holds for IPv4.
///
/// The worker threads only resolve names, so silent name servers do not delay `run_blocking`. At
/// most 16 look-ups run at a time, and others start in the order in which they were requested. A
/// cancelled look-up that has already started no longer counts, but keeps its thread until
/// `getaddrinfo` returns. There are at most 64 threads. c-ares reads its configuration and
/// /etc/hosts on the loop's thread, for each look-up. c-ares never looks up names below `.onion`
/// (RFC 7686).
///
/// Errors: `std::system_error` with a `resolve_error` or an error of the system.
/// Cancelling: destroying the awaiting coroutine cancels the look-up. c-ares then closes its
/// sockets. If a worker has started `getaddrinfo`, the worker finishes the look-up and discards the
/// result.
/// Fork: parent and child share the sockets of a look-up of c-ares that is under way. One of them
/// may take the answer that the other waits for, and the other asks again when the server's time is
/// over. So cancel such look-ups in one of the two processes. A look-up of `getaddrinfo` never
/// completes in the child.
detail::steps_operation<std::vector<address>> resolve(std::string host, std::uint16_t port);

/// Finds the addresses of `host`, each with `port`, and calls `on_resolved` with the result.
///
/// The result holds at least one address, in the order in which they should be tried. The awaited
/// `resolve` documents the rules.
///
/// Errors: the handler gets a `resolve_error`, an error of the system, or `not_enough_memory`. The
/// call itself throws `std::bad_alloc`.
/// Cancelling: stopping or destroying the `pending_operation` cancels the look-up and destroys the
/// handler. If a worker has started `getaddrinfo`, the worker finishes the look-up and discards the
/// result.
pending_operation resolve(event_loop& loop, std::string host, std::uint16_t port,
                          handler<void(result<std::vector<address>>)> on_resolved);

/// Finds the addresses of `host`, each with the port of `service`: "https", or a number.
///
///     const std::vector<address> all = co_await resolve("example.org", "https");
///
/// A worker thread looks up the port of a service by its name, as /etc/nsswitch.conf says: usually
/// in /etc/services. For SRV records, use `resolve_srv`.
///
/// Errors: `std::system_error` with `resolve_error::no_service`, or the errors of `resolve` with a
/// port.
/// Cancelling: destroying the awaiting coroutine cancels the look-up.
detail::steps_operation<std::vector<address>> resolve(std::string host, std::string service);

/// Finds the addresses of `host`, each with the port of `service`, and calls `on_resolved` with the
/// result.
///
/// Errors: the handler gets `resolve_error::no_service`, or the errors of `resolve` with a port.
/// The call itself throws `std::bad_alloc`.
/// Cancelling: stopping or destroying the `pending_operation` cancels the look-up and destroys the
/// handler.
pending_operation resolve(event_loop& loop, std::string host, std::string service,
                          handler<void(result<std::vector<address>>)> on_resolved);

// implementation

namespace detail {
task<reported<std::vector<address>>> resolve_steps(std::string host, std::uint16_t port);
task<reported<std::vector<address>>> resolve_service_steps(std::string host, std::string service);
}  // namespace detail

}  // namespace eddy

template <>
struct std::is_error_code_enum<eddy::resolve_error> : std::true_type {};
