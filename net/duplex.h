// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include <eddy/loop/detail/counted.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/buffer.h>
#include <eddy/net/detail/duplex_state.h>
#include <eddy/net/detail/write_observer.h>

namespace eddy {

/// One end of a `duplex`: a connection between two parts of one program, in memory.
///
/// It behaves as a `tcp_stream` does, but makes no system calls. At most one read and one write may
/// be pending at a time; a second one aborts the program.
///
/// Errors: a handler gets a `std::error_code`. `co_await` throws a `std::system_error`.
/// Lifetime: the loop must outlive the stream. A buffer must outlive its operation. The stream may
/// be moved while operations are pending.
/// Cancelling: closing or destroying the stream cancels its operations. A handler is destroyed and
/// never called; an awaiting coroutine is resumed with `operation_canceled`. A cancelled read loses
/// no bytes. A cancelled write has sent an unknown part of its bytes.
class duplex_stream : public detail::temporary_write<duplex_stream> {
public:
  /// A stream that is not open: only assigning to it, `open`, `close` and destroying it are
  /// allowed.
  duplex_stream() noexcept = default;
  duplex_stream(duplex_stream&& other) noexcept
      : state_(std::move(other.state_)), side_(other.side_) {}
  /// Closes this stream and takes over the other one.
  duplex_stream& operator=(duplex_stream&& other) noexcept {
    duplex_stream before(std::move(other));
    std::swap(state_, before.state_);
    std::swap(side_, before.side_);
    return *this;
  }
  /// Closes the stream.
  ~duplex_stream() { close(); }

  /// Reads the bytes that are there, up to the size of the buffer, and returns their number.
  ///
  /// If no bytes are there, the read waits for some. It returns 0 when the other end has ended its
  /// sending side. A read moves at most 256 KiB.
  ///
  /// Errors: `connection_reset` once, after the bytes that are there, if the other end was closed
  /// before it had read all its bytes. An empty buffer aborts the program.
  /// Cancelling: no bytes are lost; the next read returns them.
  detail::duplex_operation<detail::duplex_read> read(mutable_buffer into) {
    return {state(), side_, into};
  }
  /// Reads the bytes that are there, as the awaited `read` does, and calls `on_read` with their
  /// number or an error.
  void read(mutable_buffer into, handler<void(result<std::size_t>)> on_read);
  /// Reads the bytes that are there without waiting; `std::nullopt` means that there are none.
  [[nodiscard]] std::optional<result<std::size_t>> try_read(mutable_buffer into);

  /// Writes all the bytes. It waits while the buffer towards the other end is full.
  ///
  /// Errors: `broken_pipe` after `shutdown`, and if the other end is closed; `connection_reset`
  /// once, if the other end was closed before it had read all its bytes.
  /// Lifetime: the bytes must outlive the operation.
  /// Cancelling: an unknown part of the bytes has been sent.
  detail::duplex_operation<detail::duplex_write> write(const_buffer bytes) {
    return {state(), side_, bytes};
  }
  /// For eddy: an awaited write that tells of each part that has moved.
  detail::duplex_operation<detail::duplex_write> write(const_buffer bytes,
                                                       detail::write_observer& observer) {
    return {state(), side_, detail::duplex_bytes(bytes, &observer)};
  }
  /// Writes all the bytes, as the awaited `write` does, and then calls `on_written`. The bytes must
  /// outlive the operation.
  void write(const_buffer bytes, handler<void(result<void>)> on_written);
  using detail::temporary_write<duplex_stream>::write;
  /// Writes all the bytes of several buffers.
  ///
  /// Errors: as for `write` of one buffer.
  /// Lifetime: the list of buffers and the bytes must outlive the operation.
  /// Cancelling: an unknown part of the bytes has been sent.
  detail::duplex_operation<detail::duplex_write> write(std::span<const const_buffer> buffers) {
    return {state(), side_, buffers};
  }
  /// Writes all the bytes of several buffers and then calls `on_written`. The list of buffers and
  /// the bytes must outlive the operation.
  void write(std::span<const const_buffer> buffers, handler<void(result<void>)> on_written);
  /// Writes as many bytes as the buffer has space for, without waiting, and returns their number.
  ///
  /// A call moves at most 256 KiB, as a call of a socket does, so that a turn of the loop stays
  /// short. `std::nullopt` means that the buffer is full. The result is an error if the write
  /// failed.
  [[nodiscard]] std::optional<result<std::size_t>> try_write(const_buffer bytes);

  /// Cancels the pending read, if there is one. No bytes are lost.
  void stop_reading() noexcept { state().stop_reading(side_); }
  /// Cancels the pending write, if there is one. An unknown part of its bytes has been sent.
  void stop_writing() noexcept { state().stop_writing(side_); }

  /// Ends the sending side: the other end reads all bytes that were written, and then the end.
  ///
  /// A pending write completes first. A write that starts after this call fails at once with
  /// `broken_pipe`. Reading is not affected.
  void shutdown() noexcept { state().shutdown(side_); }

  /// Closes this end and cancels its pending operations. Does nothing if the stream is not open.
  ///
  /// The other end reads the bytes that were written, and then the end. If this end has unread
  /// bytes, the other end then gets `connection_reset` once, as from a TCP connection.
  void close() noexcept;
  /// Whether this stream was neither closed nor moved from.
  [[nodiscard]] bool open() const noexcept { return static_cast<bool>(state_); }

  /// The number of bytes that can be read without waiting.
  [[nodiscard]] std::size_t unread() const noexcept { return state().from(side_).size(); }

  [[nodiscard]] event_loop& loop() const noexcept { return state().loop(); }

private:
  friend std::pair<duplex_stream, duplex_stream> duplex(event_loop& loop, std::size_t a_to_b,
                                                        std::size_t b_to_a);

  duplex_stream(detail::counted_ptr<detail::duplex_state> state, unsigned side) noexcept
      : state_(std::move(state)), side_(side) {}

  [[nodiscard]] detail::duplex_state& state() const noexcept {
    if (!state_) not_open();
    state_->check_thread();
    return *state_;
  }
  [[noreturn]] static void not_open() noexcept;
  void start(detail::duplex_operation<detail::duplex_write> operation,
             handler<void(result<void>)> on_written);

  detail::counted_ptr<detail::duplex_state> state_;
  unsigned side_ = 0;
};

/// Makes two connected streams in memory, called a and b.
///
/// `a_to_b` and `b_to_a` are the sizes in bytes of the buffers in each direction: a write waits
/// while its buffer is full. A size of zero aborts the program.
///
/// Errors: `std::bad_alloc`.
[[nodiscard]] std::pair<duplex_stream, duplex_stream> duplex(event_loop& loop, std::size_t a_to_b,
                                                             std::size_t b_to_a);
/// Makes two connected streams in memory, on the running loop.
///
/// `a_to_b` and `b_to_a` are the sizes in bytes of the buffers in each direction. A size of zero
/// aborts the program.
///
/// Errors: `std::bad_alloc`.
[[nodiscard]] std::pair<duplex_stream, duplex_stream> duplex(std::size_t a_to_b,
                                                             std::size_t b_to_a);

}  // namespace eddy
