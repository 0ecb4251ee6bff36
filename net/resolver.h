// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/address.h>
#include <eddy/net/detail/delivery.h>
#include <eddy/net/pending_operation.h>
#include <eddy/net/resolve.h>
#include <eddy/net/resolve_srv.h>
#include <eddy/net/socket_options.h>
#include <eddy/net/tcp_stream.h>

namespace eddy {

class event_loop;

namespace detail {
class resolver_state;
}

/// The options of a `resolver`.
///
/// `getaddrinfo`, if it looks a name up as `resolve` says, knows neither `timeout` nor `tries`. If
/// the program sets one of them, the look-up ends with `try_again` after the timeout times the
/// tries, which are 2 if neither the program nor the system sets them.
struct resolver_options {
  resolver_options() = default;

  /// The name servers. An empty list means those of the system. Port 0 means port 53.
  std::vector<address> servers;
  /// How long a server has for its answer; each round of tries doubles the time. It is a time of
  /// the real clock, also on a loop with a `manual_clock`. Zero or less is the system's: the option
  /// `timeout` of RES_OPTIONS or /etc/resolv.conf, or 5 s (resolv.conf(5)).
  std::chrono::milliseconds timeout{0};
  /// How often each server is asked, at most 100 times. Zero or less is the system's: the option
  /// `attempts` of RES_OPTIONS or /etc/resolv.conf, or the default of c-ares.
  int tries = 0;
  /// The most answers that the cache keeps, each for as long as its TTL says, but a week at most
  /// (RFC 8767). Zero keeps none. Errors, the contents of /etc/hosts, and answers of `getaddrinfo`,
  /// which tells no TTL, are never kept. A full cache drops the answer whose last use is longest
  /// ago.
  std::size_t cache_size = 0;
  /// Look-ups of the same name share one question: while it is under way, the name is not asked for
  /// again, and all look-ups get its answer.
  bool share_questions = false;
};

/// Looks names up with options: name servers, time limits, and a cache.
///
///     resolver_options how;
///     how.cache_size = 1000;
///     resolver names(loop, how);
///     const std::vector<address> all = co_await names.resolve("example.org", 443);
///
/// The functions are those of <eddy/net/resolve.h>, <eddy/net/resolve_srv.h> and
/// <eddy/net/connect.h>. With `servers`, a look-up asks only /etc/hosts and these servers. Without
/// them, it asks what the functions without a resolver ask.
///
/// To the cache and to shared questions, `host.example` and `HOST.example` are the same name, and
/// `host.example.` is another one: no search domain completes it (resolv.conf(5)).
///
/// Lifetime: the loop must outlive the resolver. Pending operations continue after the resolver is
/// destroyed.
/// Cancelling: destroying the awaiting coroutine cancels the look-up. A shared question is
/// cancelled when all of its look-ups are.
class resolver {
public:
  /// Makes a resolver for operations on `loop`.
  /// Errors: `std::system_error` with `not_supported` for servers, a timeout or tries, if eddy was
  /// built without c-ares; with `invalid_argument` for a server that is empty or has a scope.
  explicit resolver(event_loop& loop, resolver_options how = resolver_options());
  resolver(resolver&&) noexcept = default;
  resolver& operator=(resolver&&) noexcept = default;
  ~resolver();

  /// Finds the addresses of `host`, each with `port`, as the function `resolve` does.
  /// Errors: `std::system_error` with a `resolve_error` or an error of the system.
  /// Cancelling: destroying the awaiting coroutine cancels the look-up.
  detail::steps_operation<std::vector<address>> resolve(std::string host, std::uint16_t port);
  /// Finds the addresses of `host`, each with `port`, and calls `on_resolved` with the result.
  /// Errors: the handler gets a `resolve_error`, an error of the system, or `not_enough_memory`.
  /// Cancelling: stopping or destroying the `pending_operation` cancels the look-up.
  pending_operation resolve(std::string host, std::uint16_t port,
                            handler<void(result<std::vector<address>>)> on_resolved);

  /// Finds the addresses of `host`, each with the port of `service`: "https", or a number.
  /// Errors: `std::system_error` with a `resolve_error` or an error of the system.
  /// Cancelling: destroying the awaiting coroutine cancels the look-up.
  detail::steps_operation<std::vector<address>> resolve(std::string host, std::string service);
  /// Finds the addresses of `host`, each with the port of `service`, and calls `on_resolved`.
  /// Errors: the handler gets a `resolve_error`, an error of the system, or `not_enough_memory`.
  /// Cancelling: stopping or destroying the `pending_operation` cancels the look-up.
  pending_operation resolve(std::string host, std::string service,
                            handler<void(result<std::vector<address>>)> on_resolved);

  /// Finds the servers of a service by its SRV records, as the function `resolve_srv` does.
  /// Errors: `std::system_error` with a `resolve_error`, an error of the system, or
  /// `not_supported`. Cancelling: destroying the awaiting coroutine cancels the look-up.
  detail::steps_operation<std::vector<srv_record>> resolve_srv(std::string name);
  /// Finds the servers of a service by its SRV records, and calls `on_resolved` with the result.
  /// Errors: the handler gets a `resolve_error`, `not_supported`, or `not_enough_memory`.
  /// Cancelling: stopping or destroying the `pending_operation` cancels the look-up.
  pending_operation resolve_srv(std::string name,
                                handler<void(result<std::vector<srv_record>>)> on_resolved);

  /// Opens a TCP connection to `host`, as the function `connect` does, with the addresses that this
  /// resolver finds. With a cache or shared questions, the attempts begin when both families have
  /// their answers.
  /// Errors: `std::system_error` with the error of the look-up, or of the address that was tried
  /// last.
  /// Cancelling: destroying the awaiting coroutine closes all sockets and cancels the look-up.
  detail::steps_operation<tcp_stream> connect(std::string host, std::uint16_t port,
                                              const socket_options& how = socket_options());
  /// Opens a TCP connection to `host` and calls `on_connected` with the stream or an error. The
  /// text of `how.device` must outlive the operation.
  /// Errors: the handler gets the error of the look-up or of the address that was tried last, or
  /// `not_enough_memory`.
  /// Cancelling: stopping or destroying the `pending_operation` closes all sockets and cancels the
  /// look-up.
  pending_operation connect(std::string host, std::uint16_t port, const socket_options& how,
                            handler<void(result<tcp_stream>)> on_connected);

  /// Forgets all answers that were kept.
  void clear_cache() noexcept;
  /// The number of answers that are kept. Some of them may have expired.
  [[nodiscard]] std::size_t cached() const noexcept;

  [[nodiscard]] event_loop& loop() const noexcept;

private:
  [[nodiscard]] const std::shared_ptr<detail::resolver_state>& state() const noexcept;

  // Shared with the operations.
  std::shared_ptr<detail::resolver_state> state_;
};

}  // namespace eddy
