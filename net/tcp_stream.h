// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <utility>

#include <eddy/loop/event_loop.h>
#include <eddy/net/address.h>
#include <eddy/net/detail/stream_socket.h>
#include <eddy/net/socket_options.h>
#include <eddy/net/socket_stream.h>

namespace eddy {

namespace detail {
struct stream_access;  // makes streams, for `accept` and `connect`
}

/// A TCP connection. `connect` and `tcp_listener` make it.
///
/// It reads and writes as a `socket_stream`, whose header documents `read`, `write`, `close` and
/// the other operations of every stream.
///
/// Error queue: a program that makes the kernel report time stamps or the ends of zero-copy sends
/// must read them from the socket's error queue, in the handler of its own `readiness` on
/// `descriptor()`. While that queue holds entries, the kernel always reports the socket as ready.
/// So if that handler returns and leaves entries in the queue, a pending read or write drops these
/// entries. To keep them, the handler must call `wait_readable` of its `readiness` again. Errors of
/// the connection are still reported.
class tcp_stream : public socket_stream, public detail::with_options<tcp_stream> {
public:
  /// A stream that is not open: only assigning to it, `open`, `close` and destroying it are
  /// allowed.
  tcp_stream() noexcept = default;

  /// Takes over a connected socket. If the constructor throws, it closes `descriptor`.
  ///
  /// The descriptor becomes non-blocking and close-on-exec.
  /// Errors: `std::system_error`: `not_a_socket`, `wrong_protocol_type` for another type than
  /// SOCK_STREAM, `address_family_not_supported` for a Unix socket, or `not_connected`;
  /// `std::bad_alloc`. The text says what the descriptor is.
  tcp_stream(event_loop& loop, int descriptor);

  tcp_stream(tcp_stream&&) noexcept = default;
  /// Closes this stream and takes over the other one.
  tcp_stream& operator=(tcp_stream&&) noexcept = default;
  /// Closes the stream.
  ~tcp_stream() = default;

  /// The address of the peer.
  [[nodiscard]] const address& peer_address() const noexcept;
  /// The address of this end of the connection.
  /// Errors: `std::system_error`.
  [[nodiscard]] address local_address() const;

  // Options of the socket.

  /// With `true`, turns Nagle's algorithm off, so that the kernel sends small writes without
  /// waiting for more bytes. With `false`, turns Nagle's algorithm on.
  /// Errors: `std::system_error`.
  void set_no_delay(bool on);
  /// Whether Nagle's algorithm is off.
  /// Errors: `std::system_error`.
  [[nodiscard]] bool no_delay() const;

  /// The times at which the kernel probes a silent peer, and after which the connection fails.
  ///
  /// The kernel sends the first probe after `idle` without traffic, and further probes every
  /// `interval`. After `probes` probes without an answer, the connection fails. Times over 32,767
  /// seconds count as 32,767.
  struct keep_alive_times {
    std::chrono::seconds idle{7200};
    std::chrono::seconds interval{75};
    int probes = 9;
  };
  /// Turns probing of a silent peer on, with these times.
  /// Errors: `std::system_error`; `invalid_argument` if a time is below 1 s, or `probes` is below 1
  /// or above 127.
  void set_keep_alive(const keep_alive_times& times);
  /// Turns probing of a silent peer on or off. The kernel uses the times that were set last, or
  /// else its defaults.
  /// Errors: `std::system_error`.
  void set_keep_alive(bool on);
  /// Whether the kernel probes a silent peer.
  /// Errors: `std::system_error`.
  [[nodiscard]] bool keep_alive() const;

  /// Sets what closing does with bytes that were written and that the kernel has not sent yet.
  ///
  /// - `std::nullopt`, the default: the kernel sends them in the background. If received bytes were
  ///   not read, also after `shutdown_read`, the kernel resets the connection instead, and unsent
  ///   bytes are lost. A server whose clients may still send should call `shutdown`, read until the
  ///   end, and then close.
  /// - A positive time: closing blocks the thread until the bytes are sent, at most for that time.
  /// - Zero: closing discards the bytes and resets the connection.
  ///
  /// Errors: `std::system_error`.
  void set_linger(std::optional<std::chrono::seconds> time);

private:
  friend struct detail::stream_access;

  explicit tcp_stream(detail::stream_socket socket) noexcept : socket_stream(std::move(socket)) {}
};

}  // namespace eddy
