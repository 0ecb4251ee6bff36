// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/buffer.h>
#include <eddy/net/detail/operation.h>
#include <eddy/net/detail/stream_socket.h>
#include <eddy/net/detail/unix_calls.h>
#include <eddy/net/received_message.h>
#include <eddy/net/socket_stream.h>
#include <eddy/net/unique_descriptor.h>
#include <eddy/net/unix_address.h>
#include <eddy/net/unix_credentials.h>

namespace eddy {

namespace detail {
struct stream_access;  // makes streams, for `accept` and `connect`
}

/// A connected Unix stream socket. `connect`, `unix_listener` and `socket_pair` make it.
///
/// It reads and writes as a `socket_stream`, whose header documents `read`, `write`, `close` and
/// the other operations of every stream. It also passes descriptors, and knows the peer's process.
///
/// Errors: as for `socket_stream`. The text names the peer by its address, or as "unix peer, pid
/// 812" if the peer is not bound.
///
/// Descriptors: the peer may send descriptors at any time. `receive_descriptors` takes them. A
/// plain `read` returns the bytes that they came with, and the kernel closes the descriptors.
class unix_stream : public socket_stream {
public:
  /// A stream that is not open: only assigning to it, `open`, `close` and destroying it are
  /// allowed.
  unix_stream() noexcept = default;

  /// Takes over a connected socket. `descriptor` is closed even if this throws.
  ///
  /// The descriptor becomes non-blocking and close-on-exec.
  /// Errors: `std::system_error`: `not_a_socket`, `wrong_protocol_type` for another type than
  /// SOCK_STREAM, `address_family_not_supported`, or `not_connected`; `std::bad_alloc`. The text
  /// says what the descriptor is.
  unix_stream(event_loop& loop, int descriptor);

  unix_stream(unix_stream&&) noexcept = default;
  /// Closes this stream and takes over the other one.
  unix_stream& operator=(unix_stream&&) noexcept = default;
  /// Closes the stream.
  ~unix_stream() = default;

  /// Sends all the bytes, and copies of descriptors with the first byte.
  ///
  /// The peer gets descriptors of its own for the same open files. It is a write: at most one may
  /// be pending. Descriptors without bytes abort the program, because a stream carries descriptors
  /// with bytes.
  ///
  /// Errors: `std::system_error`; `invalid_argument` for more than `most_descriptors`;
  /// `bad_file_descriptor` if one is not open; ETOOMANYREFS if this user has more than
  /// RLIMIT_NOFILE descriptors on the way, sent and not yet received, in the whole system
  /// (unix(7)); `broken_pipe` after `shutdown`. If the call fails before the first byte, no
  /// descriptor was sent. Lifetime: the bytes, the list and the descriptors must outlive the
  /// operation. Afterwards, the descriptors may be closed. Cancelling: an unknown part of the bytes
  /// has been sent, so close the stream.
  detail::operation_awaitable<detail::send_descriptors_call> send_descriptors(
      const_buffer bytes, std::span<const int> descriptors) {
    return {socket(), detail::send_descriptors_call(bytes, descriptors)};
  }
  /// Sends all the bytes, and descriptors with the first byte, as the awaited `send_descriptors`
  /// does, and then calls `on_sent`. The bytes, the list and the descriptors must outlive the
  /// operation.
  void send_descriptors(const_buffer bytes, std::span<const int> descriptors,
                        handler<void(result<void>)> on_sent);
  /// Sends descriptors and as many bytes as the kernel has space for, without waiting, and returns
  /// the number of bytes.
  ///
  /// `std::nullopt` means that the kernel has no space, and then no descriptor was sent. Otherwise
  /// all descriptors were sent: write the other bytes without them.
  [[nodiscard]] std::optional<result<std::size_t>> try_send_descriptors(
      const_buffer bytes, std::span<const int> descriptors);

  /// Reads the bytes that are there, and takes the descriptors that came with them.
  ///
  /// The descriptors are moved to the first elements of `slots`. A descriptor that such an element
  /// owned before is closed. The new ones are close-on-exec from the start. At most
  /// `most_descriptors` of the slots are used. A read ends behind bytes with descriptors, so one
  /// read never returns the descriptors of two sends. It is a read: at most one may be pending.
  ///
  /// Errors: `std::system_error`. Too few slots or free descriptor numbers are no error: see
  /// `received_bytes::descriptors_lost`. An empty buffer aborts the program.
  /// Lifetime: the buffer and the slots must outlive the operation.
  /// Cancelling: neither bytes nor descriptors are lost; the next receive returns them.
  detail::operation_awaitable<detail::receive_descriptors_call> receive_descriptors(
      mutable_buffer into, std::span<unique_descriptor> slots) {
    return {socket(), detail::receive_descriptors_call(into, slots)};
  }
  /// Reads the bytes that are there and takes the descriptors that came with them, as the awaited
  /// `receive_descriptors` does, and calls `on_received`. The buffer and the slots must outlive the
  /// operation.
  void receive_descriptors(mutable_buffer into, std::span<unique_descriptor> slots,
                           handler<void(result<received_bytes>)> on_received);
  /// Reads the bytes and takes the descriptors that are there, without waiting; `std::nullopt`
  /// means that there are none. An empty buffer aborts the program.
  [[nodiscard]] std::optional<result<received_bytes>> try_receive_descriptors(
      mutable_buffer into, std::span<unique_descriptor> slots);

  /// The address of the peer; unnamed if the peer is not bound, as clients usually are.
  /// Errors: `std::system_error`.
  [[nodiscard]] unix_address peer_address() const;
  /// The address of this end; unnamed if it is not bound.
  /// Errors: `std::system_error`.
  [[nodiscard]] unix_address local_address() const;

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

  explicit unix_stream(detail::stream_socket socket) noexcept : socket_stream(std::move(socket)) {}
};

/// Makes two streams on `loop` that are connected with each other.
/// Errors: `std::system_error`; `std::bad_alloc`.
[[nodiscard]] std::pair<unix_stream, unix_stream> socket_pair(event_loop& loop);

}  // namespace eddy
