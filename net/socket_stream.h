// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <system_error>
#include <utility>

#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/buffer.h>
#include <eddy/net/detail/open_socket.h>
#include <eddy/net/detail/operation.h>
#include <eddy/net/detail/stream_calls.h>
#include <eddy/net/detail/stream_socket.h>

namespace eddy {

namespace detail {
struct stream_access;  // gives the socket, for operations that are no members
}  // namespace detail

/// Reads from and writes to a connected stream socket: the common base of `tcp_stream` and others.
///
/// A function that takes a `socket_stream&` works on a TCP connection and on a Unix socket. Only
/// derived classes can be made, moved and destroyed.
///
/// Each operation has two forms. The form with a handler returns at once, and the loop calls the
/// handler later. The form without a handler is for `co_await`. Forms whose names begin with `try_`
/// never wait.
///
///     const std::size_t n = co_await stream.read(buffer);
///     stream.read(buffer, [](result<std::size_t> n) { ... });
///
/// At most one read and one write may be pending at a time; a second one aborts the program.
/// `wait_readable` counts as a read, and `wait_writable` as a write.
///
/// Errors: a handler gets a `std::error_code`. `co_await` throws a `std::system_error` whose text
/// names the operation and the peer. No write raises SIGPIPE. The kernel reports an error of the
/// connection once: after a write that failed with `connection_reset`, the next read returns 0.
/// Lifetime: the loop must outlive the stream. A buffer must outlive its operation. The stream may
/// be moved while operations are pending.
/// Cancelling: closing or destroying the stream cancels its operations. A handler is destroyed and
/// never called; an awaiting coroutine is resumed with `operation_canceled`. Destroying an awaiting
/// coroutine cancels its operation. A cancelled read loses no bytes: the next read returns them. A
/// cancelled write has sent an unknown part of its bytes.
class socket_stream : public detail::temporary_write<socket_stream> {
public:
  /// Reads the bytes that are there, up to the size of the buffer, and returns their number.
  ///
  /// The number is at most 256 KiB. If no bytes are there, the read waits for some. It returns 0
  /// when the peer has ended its sending side, and after `shutdown_read`.
  ///
  /// After a read that did not fill its buffer, the next read waits until the loop has polled the
  /// descriptors again, even if bytes have arrived meanwhile. Under a `timeout` of zero, use
  /// `try_read` instead.
  ///
  /// Errors: `std::system_error`. An empty buffer aborts the program, because its result of 0 would
  /// look like the end of the stream.
  /// Cancelling: no bytes are lost; the next read returns them.
  detail::operation_awaitable<detail::read_call> read(mutable_buffer into) {
    return {socket(), detail::read_call(into)};
  }
  /// Reads the bytes that are there, up to the size of the buffer, and calls `on_read` with their
  /// number or an error.
  ///
  /// The number is at most 256 KiB. If no bytes are there, the read waits for some. The number is 0
  /// when the peer has ended its sending side, and after `shutdown_read`. An empty buffer aborts
  /// the program. The buffer must live until `on_read` is called.
  void read(mutable_buffer into, handler<void(result<std::size_t>)> on_read);
  /// Reads the bytes that are there without waiting; `std::nullopt` means that there are none.
  ///
  /// The result is the number of bytes, at most 256 KiB, or an error. It is 0 when the peer has
  /// ended its sending side, and after `shutdown_read`. Aborts the program if the buffer is empty,
  /// or if a read or `wait_readable` is pending.
  [[nodiscard]] std::optional<result<std::size_t>> try_read(mutable_buffer into);

  /// Suspends the coroutine until a read would complete without waiting: there are bytes, the end
  /// of the stream, or an error.
  ///
  /// This wait needs no buffer, which saves memory for connections that are mostly silent. A read
  /// during this wait, even a `try_read`, aborts the program.
  detail::operation_awaitable<detail::wait_call<readiness::direction::read>> wait_readable() {
    return {socket(), {}};
  }
  /// Calls `on_readable` when a read would complete without waiting: there are bytes, the end of
  /// the stream, or an error. Until then, any other read of the stream, even a `try_read`, aborts
  /// the program.
  void wait_readable(handler<void(result<void>)> on_readable);

  /// Writes all the bytes.
  ///
  /// In a handler or a coroutine of the loop, the bytes for which the kernel has space are sent
  /// within the call or the `co_await`, unless the turn has used up its budget. A write that begins
  /// outside the loop's turns is sent in the next turn.
  ///
  /// Errors: `std::system_error`; `broken_pipe` after `shutdown`.
  /// Lifetime: the bytes must outlive the operation.
  /// Cancelling: a cancelled write has sent an unknown part of the bytes, so close the stream.
  detail::operation_awaitable<detail::write_call> write(const_buffer bytes) {
    return {socket(), detail::write_call(bytes)};
  }
  /// Writes all the bytes, as the awaited `write` does, and then calls `on_written`. The bytes must
  /// outlive the operation.
  void write(const_buffer bytes, handler<void(result<void>)> on_written);
  using detail::temporary_write<socket_stream>::write;
  /// Writes as many bytes as the kernel has space for, without waiting, and returns their number.
  ///
  /// `std::nullopt` means that the kernel has no space. The result is an error if the write failed,
  /// such as `broken_pipe` after `shutdown`. Aborts the program if a write or `wait_writable` is
  /// pending.
  [[nodiscard]] std::optional<result<std::size_t>> try_write(const_buffer bytes);

  /// Writes all the bytes of several buffers, in few system calls: up to 512 buffers in each.
  ///
  /// Errors: `std::system_error`; `broken_pipe` after `shutdown`.
  /// Lifetime: the list of buffers and the bytes must outlive the operation.
  /// Cancelling: a cancelled write has sent an unknown part of the bytes, so close the stream.
  detail::operation_awaitable<detail::write_call> write(std::span<const const_buffer> buffers) {
    return {socket(), detail::write_call(buffers)};
  }
  /// Writes all the bytes of several buffers and then calls `on_written`. The list of buffers and
  /// the bytes must outlive the operation.
  void write(std::span<const const_buffer> buffers, handler<void(result<void>)> on_written);

  /// Writes as many bytes of several buffers as the kernel has space for, by one system call, and
  /// returns their number. One call takes at most 512 buffers and 256 KiB.
  ///
  /// `std::nullopt` means that the kernel has no space. The result is an error if the write failed.
  /// Aborts the program if a write or `wait_writable` is pending.
  [[nodiscard]] std::optional<result<std::size_t>> try_write(std::span<const const_buffer> buffers);

  /// Suspends the coroutine until a write would complete without waiting: the kernel has space, or
  /// the write would fail. A write during this wait, even a `try_write`, aborts the program.
  detail::operation_awaitable<detail::wait_call<readiness::direction::write>> wait_writable() {
    return {socket(), {}};
  }
  /// Calls `on_writable` when a write would complete without waiting: the kernel has space, or the
  /// write would fail. Until then, any other write to the stream, even a `try_write`, aborts the
  /// program.
  void wait_writable(handler<void(result<void>)> on_writable);

  /// Cancels the pending read or `wait_readable`, if there is one.
  ///
  /// A handler is destroyed and never called; an awaiting coroutine is resumed with
  /// `operation_canceled`. No bytes are lost.
  void stop_reading() noexcept { socket().stop(readiness::direction::read); }
  /// Cancels the pending write or `wait_writable`, if there is one.
  ///
  /// A handler is destroyed and never called; an awaiting coroutine is resumed with
  /// `operation_canceled`. A cancelled write has sent an unknown part of its bytes.
  void stop_writing() noexcept { socket().stop(readiness::direction::write); }

  /// Ends the sending side: the peer reads all bytes that were written, and then the end of the
  /// stream.
  ///
  /// A pending write completes first. If that write fails or is cancelled, the sending side ends
  /// all the same. A write that starts after this call fails at once with `broken_pipe`. Reading is
  /// not affected. If the connection has failed, the next operation reports the error.
  void shutdown() noexcept;

  /// Ends the receiving side, so that a reader can stop cleanly.
  ///
  /// Reads return the bytes that arrived before this call, and then 0, even if the peer sends more.
  /// A pending read completes. Writing is not affected, and the peer is not told. Bytes that follow
  /// unread urgent data (MSG_OOB) are not returned.
  void shutdown_read() noexcept;

  /// Closes the connection and cancels pending operations. Does nothing if the stream is not open.
  ///
  /// A handler is destroyed and never called; an awaiting coroutine is resumed with
  /// `operation_canceled`. `tcp_stream::set_linger` documents what happens to bytes that the kernel
  /// has not sent.
  void close() noexcept { socket_.close(); }
  /// Whether this stream owns an open socket: it was neither closed nor moved from.
  [[nodiscard]] bool open() const noexcept { return socket_.open(); }

  /// Gives up the descriptor and returns it: the caller closes it. The stream is not open then.
  ///
  /// Pending operations are cancelled as by `close`. The connection lives on, with its unread
  /// bytes. The descriptor stays non-blocking and close-on-exec, and the loop no longer watches it.
  [[nodiscard]] int release() noexcept { return socket_.give_up(not_open); }

  /// Returns the error that the kernel holds for the connection (SO_ERROR), and clears it.
  ///
  /// No operation reports that error afterwards. The code is zero if there is no error.
  [[nodiscard]] std::error_code take_error() noexcept;

  /// Sets the size of the kernel's send buffer in bytes. The kernel doubles `size` and applies its
  /// own limits.
  /// Errors: `std::system_error`.
  void set_send_buffer(std::size_t size);
  /// Sets the size of the kernel's receive buffer in bytes. The kernel doubles `size` and applies
  /// its own limits.
  /// Errors: `std::system_error`.
  void set_receive_buffer(std::size_t size);
  /// Returns the size of the kernel's send buffer in bytes. This is usually twice the size that
  /// `set_send_buffer` was given, because the kernel doubles that size.
  /// Errors: `std::system_error`.
  [[nodiscard]] std::size_t send_buffer() const;
  /// Returns the size of the kernel's receive buffer in bytes. This is usually twice the size that
  /// `set_receive_buffer` was given, because the kernel doubles that size.
  /// Errors: `std::system_error`.
  [[nodiscard]] std::size_t receive_buffer() const;

  /// The descriptor of the socket, which this stream still owns.
  [[nodiscard]] int descriptor() const noexcept { return socket().descriptor(); }
  [[nodiscard]] event_loop& loop() const noexcept { return socket_.unchecked(not_open).loop(); }

  /// The number of streams of all kinds that are open in this process, on all loops.
  /// Threads: any.
  [[nodiscard]] static std::size_t count() noexcept { return detail::stream_socket::count(); }

protected:
  socket_stream() noexcept = default;
  explicit socket_stream(detail::stream_socket socket) noexcept : socket_(std::move(socket)) {}
  socket_stream(socket_stream&&) noexcept = default;
  socket_stream& operator=(socket_stream&&) noexcept = default;
  ~socket_stream() = default;

  [[nodiscard]] detail::open_socket& socket() const noexcept { return socket_.checked(not_open); }

private:
  friend struct detail::stream_access;

  static constexpr const char* not_open =
      "a stream was used that is not open: it was closed, or moved from";

  detail::stream_socket socket_;
};

}  // namespace eddy
