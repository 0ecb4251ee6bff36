// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <system_error>
#include <utility>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/buffer.h>
#include <eddy/net/detail/operation.h>
#include <eddy/net/detail/stream_calls.h>
#include <eddy/net/detail/stream_socket.h>
#include <eddy/net/detail/unix_calls.h>
#include <eddy/net/received_message.h>
#include <eddy/net/unique_descriptor.h>
#include <eddy/net/unix_address.h>

namespace eddy {

/// Sends and receives messages: the common base of `unix_seqpacket` and `unix_datagram`.
///
/// A send makes one message, and a receive takes one. Messages are not lost or reordered on the
/// way. Each may carry descriptors. Only derived classes can be made, moved and destroyed.
///
/// Each operation has two forms. The form with a handler returns at once, and the loop calls the
/// handler later. The form without a handler is for `co_await`. Forms whose names begin with `try_`
/// never wait.
///
/// At most one receive and one send may be pending at a time; a second one aborts the program.
/// `wait_readable` counts as a receive, and `wait_writable` as a send.
///
/// Errors: a handler gets a `std::error_code`. `co_await` throws a `std::system_error` whose text
/// names the operation and the peer. No send raises SIGPIPE.
/// Lifetime: the loop must outlive the socket. A buffer must outlive its operation. The socket may
/// be moved while operations are pending.
/// Cancelling: closing or destroying the socket cancels its operations. A handler is destroyed and
/// never called; an awaiting coroutine is resumed with `operation_canceled`. Destroying an awaiting
/// coroutine cancels its operation. A cancelled receive loses no message: the next receive returns
/// it. A cancelled send has sent nothing.
class unix_message_socket {
public:
  /// Receives the next message.
  ///
  /// A message that is longer than the buffer is cut, and `received_message::truncated` is true.
  /// The kernel closes descriptors that came with the message, and `descriptors_lost` is true.
  ///
  /// Errors: `std::system_error`.
  /// Lifetime: the buffer must outlive the operation.
  /// Cancelling: the message is not lost; the next receive returns it.
  detail::operation_awaitable<detail::receive_message_call> receive(mutable_buffer into) {
    return {socket(), detail::receive_message_call(into, {})};
  }
  /// Receives the next message, as the awaited `receive` does, and calls `on_received`. The buffer
  /// must outlive the operation.
  void receive(mutable_buffer into, handler<void(result<received_message>)> on_received);
  /// Receives a message without waiting; `std::nullopt` means that there is none.
  [[nodiscard]] std::optional<result<received_message>> try_receive(mutable_buffer into);

  /// Receives the next message as `receive` does, and takes the descriptors that came with it.
  ///
  /// The descriptors are moved to the first elements of `slots`. A descriptor that such an element
  /// owned before is closed. The new ones are close-on-exec from the start. At most
  /// `most_descriptors` of the slots are used.
  ///
  /// Errors: `std::system_error`. Too few slots or free descriptor numbers are no error: see
  /// `received_message::descriptors_lost`.
  /// Lifetime: the buffer and the slots must outlive the operation.
  /// Cancelling: neither the message nor a descriptor is lost; the next receive returns them.
  detail::operation_awaitable<detail::receive_message_call> receive_descriptors(
      mutable_buffer into, std::span<unique_descriptor> slots) {
    return {socket(), detail::receive_message_call(into, slots)};
  }
  /// Receives the next message and its descriptors, as the awaited `receive_descriptors` does, and
  /// calls `on_received`. The buffer and the slots must outlive the operation.
  void receive_descriptors(mutable_buffer into, std::span<unique_descriptor> slots,
                           handler<void(result<received_message>)> on_received);
  /// Receives a message and its descriptors without waiting; `std::nullopt` means that there is
  /// none.
  [[nodiscard]] std::optional<result<received_message>> try_receive_descriptors(
      mutable_buffer into, std::span<unique_descriptor> slots);

  /// Sends one message to the peer. It waits while the peer's queue is full.
  ///
  /// Errors: `std::system_error`; `message_size` if the message is longer than the send buffer;
  /// `not_connected`; `broken_pipe`, `connection_refused` or `connection_reset` if the peer is
  /// gone. Lifetime: the bytes must outlive the operation. Cancelling: nothing was sent.
  detail::operation_awaitable<detail::send_message_call> send(const_buffer bytes) {
    return {socket(), detail::send_message_call(bytes, {})};
  }
  /// Sends one message to the peer, as the awaited `send` does, and then calls `on_sent`. The bytes
  /// must outlive the operation.
  void send(const_buffer bytes, handler<void(result<void>)> on_sent);
  /// Does not compile: the handler form would send a temporary's bytes after it is destroyed.
  template <detail::temporary_bytes Bytes, class Handler>
  void send(Bytes&&, Handler&&) {
    static_assert(!detail::temporary_bytes<Bytes>,
                  "a send with a handler outlives these bytes: keep them in a variable");
  }
  /// Sends one message without waiting; `std::nullopt` means that the peer's queue is full.
  [[nodiscard]] std::optional<result<void>> try_send(const_buffer bytes);

  /// Sends one message to the peer, as `send` does, with copies of descriptors.
  ///
  /// Errors: as for `send`; `invalid_argument` for more than `most_descriptors`;
  /// `bad_file_descriptor` if one is not open; ETOOMANYREFS if too many sent descriptors were not
  /// received yet (unix(7)).
  /// Lifetime: the bytes, the list and the descriptors must outlive the operation.
  /// Cancelling: nothing was sent.
  detail::operation_awaitable<detail::send_message_call> send_descriptors(
      const_buffer bytes, std::span<const int> descriptors) {
    return {socket(), detail::send_message_call(bytes, descriptors)};
  }
  /// Sends one message with descriptors, as the awaited `send_descriptors` does, and then calls
  /// `on_sent`. The bytes, the list and the descriptors must outlive the operation.
  void send_descriptors(const_buffer bytes, std::span<const int> descriptors,
                        handler<void(result<void>)> on_sent);
  /// Sends one message with descriptors without waiting; `std::nullopt` means that the peer's queue
  /// is full.
  [[nodiscard]] std::optional<result<void>> try_send_descriptors(const_buffer bytes,
                                                                 std::span<const int> descriptors);

  /// Waits until a receive would not wait: there is a message, the end, or an error. A receive that
  /// starts during this wait aborts the program.
  detail::operation_awaitable<detail::wait_call<readiness::direction::read>> wait_readable() {
    return {socket(), {}};
  }
  /// Waits until a receive would not wait, and then calls `on_readable`.
  void wait_readable(handler<void(result<void>)> on_readable);
  /// Waits until a send to the peer would not wait. A send that starts during this wait aborts the
  /// program.
  detail::operation_awaitable<detail::wait_call<readiness::direction::write>> wait_writable() {
    return {socket(), {}};
  }
  /// Waits until a send to the peer would not wait, and then calls `on_writable`.
  void wait_writable(handler<void(result<void>)> on_writable);

  /// Cancels the pending receive or `wait_readable`, if there is one. A handler is destroyed and
  /// never called; an awaiting coroutine is resumed with `operation_canceled`. No message is lost.
  void stop_receiving() noexcept { socket().stop(readiness::direction::read); }
  /// Cancels the pending send or `wait_writable`, if there is one. A handler is destroyed and never
  /// called; an awaiting coroutine is resumed with `operation_canceled`. Nothing was sent.
  void stop_sending() noexcept { socket().stop(readiness::direction::write); }

  /// Closes the socket and cancels pending operations. Does nothing if the socket is not open. A
  /// handler is destroyed and never called; an awaiting coroutine is resumed with
  /// `operation_canceled`.
  void close() noexcept { socket_.close(); }
  /// Whether this owns an open socket: it was neither closed nor moved from.
  [[nodiscard]] bool open() const noexcept { return socket_.open(); }

  /// The address of this socket; unnamed if it is not bound.
  /// Errors: `std::system_error`.
  [[nodiscard]] unix_address local_address() const;
  /// The address of the peer; unnamed if the peer is not bound.
  /// Errors: `std::system_error`; `not_connected`.
  [[nodiscard]] unix_address peer_address() const;

  /// Sets the size of the kernel's send buffer in bytes, which bounds the size of a message. The
  /// kernel doubles `size` and applies its own limits.
  /// Errors: `std::system_error`.
  void set_send_buffer(std::size_t size);
  /// The size of the kernel's send buffer in bytes, after doubling.
  /// Errors: `std::system_error`.
  [[nodiscard]] std::size_t send_buffer() const;

  /// The descriptor of the socket, which this still owns.
  [[nodiscard]] int descriptor() const noexcept { return socket().descriptor(); }
  [[nodiscard]] event_loop& loop() const noexcept { return socket_.unchecked(not_open).loop(); }

protected:
  unix_message_socket() noexcept = default;
  explicit unix_message_socket(detail::stream_socket socket) noexcept
      : socket_(std::move(socket)) {}
  unix_message_socket(unix_message_socket&&) noexcept = default;
  unix_message_socket& operator=(unix_message_socket&&) noexcept = default;
  ~unix_message_socket() = default;

  [[nodiscard]] detail::open_socket& socket() const noexcept { return socket_.checked(not_open); }
  [[nodiscard]] int give_up() noexcept { return socket_.give_up(not_open); }

private:
  static constexpr const char* not_open =
      "a Unix socket was used that is not open: it was closed, or moved from";

  detail::stream_socket socket_;
};

}  // namespace eddy
