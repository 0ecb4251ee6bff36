// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <utility>

#include <eddy/net/detail/stream_socket.h>
#include <eddy/net/unique_descriptor.h>
#include <eddy/net/unix_credentials.h>
#include <eddy/net/unix_message_socket.h>

namespace eddy {

namespace detail {
struct stream_access;  // makes sockets, for `accept` and `connect`
}

/// A Unix connection that keeps the boundaries of messages (SOCK_SEQPACKET).
/// `connect_seqpacket`, `unix_seqpacket_listener` and `seqpacket_pair` make it.
///
/// It sends and receives as a `unix_message_socket`, whose header documents `send`, `receive` and
/// the other operations. A receive of 0 bytes is the end: the peer has closed its socket or ended
/// its sending side. An empty message would look the same, so do not send any.
class unix_seqpacket : public unix_message_socket {
public:
  /// A socket that is not open: only assigning to it, `open`, `close` and destroying it are
  /// allowed.
  unix_seqpacket() noexcept = default;

  /// Takes over a connected socket. `descriptor` is closed even if this throws.
  ///
  /// The descriptor becomes non-blocking and close-on-exec.
  /// Errors: `std::system_error`: `not_a_socket`, `wrong_protocol_type` for another type than
  /// SOCK_SEQPACKET, `address_family_not_supported`, or `not_connected`; `std::bad_alloc`. The text
  /// says what the descriptor is.
  unix_seqpacket(event_loop& loop, int descriptor);

  unix_seqpacket(unix_seqpacket&&) noexcept = default;
  /// Closes this socket and takes over the other one.
  unix_seqpacket& operator=(unix_seqpacket&&) noexcept = default;
  /// Closes the socket.
  ~unix_seqpacket() = default;

  /// Ends the sending side: the peer receives all messages that were sent, and then the end.
  ///
  /// A pending send completes first. A send that starts after this call fails with `broken_pipe`.
  void shutdown() noexcept { socket().shutdown_writing(); }

  /// Gives up the descriptor and returns it: the caller closes it. The socket is not open then.
  ///
  /// Pending operations are cancelled as by `close`. The connection lives on.
  [[nodiscard]] int release() noexcept { return give_up(); }

  /// The process that connected, listened, or made the pair.
  /// Errors: `std::system_error`.
  [[nodiscard]] unix_credentials peer_credentials() const;
  /// A descriptor of the peer's process, which refers to no other process later: see pidfd_open(2).
  ///
  /// It is close-on-exec, and readable when the process has ended.
  /// Errors: `std::system_error`; `no_protocol_option` before Linux 6.5. On some kernels, this
  /// fails if the process has ended.
  [[nodiscard]] unique_descriptor peer_pidfd() const;

private:
  friend struct detail::stream_access;

  explicit unix_seqpacket(detail::stream_socket socket) noexcept
      : unix_message_socket(std::move(socket)) {}
};

/// Makes two sockets on `loop` that are connected with each other.
/// Errors: `std::system_error`; `std::bad_alloc`.
[[nodiscard]] std::pair<unix_seqpacket, unix_seqpacket> seqpacket_pair(event_loop& loop);

}  // namespace eddy
