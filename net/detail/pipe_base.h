// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/buffer.h>
#include <eddy/net/detail/open_socket.h>
#include <eddy/net/detail/operation.h>
#include <eddy/net/detail/pipe_calls.h>
#include <eddy/net/detail/stream_socket.h>

namespace eddy::detail {

/// An open descriptor that is no socket, and how its calls avoid blocking.
struct pipe_end {
  pipe_end() noexcept = default;
  pipe_end(stream_socket own, const pipe_kind& how) noexcept : socket(std::move(own)), kind(&how) {}

  stream_socket socket;
  const pipe_kind* kind = &pipe_itself;
};

/// Takes over `descriptor`, also if this throws.
/// Errors: `std::bad_alloc`.
[[nodiscard]] pipe_end make_pipe_end(event_loop& loop, int descriptor, const pipe_kind& kind);

/// Makes readers, writers and terminals, and has an operation on them that is no member.
struct pipe_access {
  template <class Pipe>
  static Pipe make(pipe_end end) noexcept {
    return Pipe(std::move(end));
  }
  /// Writes as many bytes as there is space for, and gives their number.
  template <class Pipe>
  static operation_awaitable<pipe_write_some_call> write_some(Pipe& to, const_buffer bytes) {
    return {to.socket(), pipe_write_some_call(bytes, *to.end_.kind)};
  }
};

/// Reads from and writes to a descriptor that is no socket: the common base of `pipe_reader`,
/// `pipe_writer` and `pseudo_terminal`. Each of them makes the operations that it has public.
///
/// At most one read and one write may be pending at a time; a second one aborts the program.
/// `wait_readable` counts as a read, and `wait_writable` as a write.
class pipe_base : public temporary_write<pipe_base> {
public:
  /// Closes this end and cancels its pending operations. Does nothing if it is not open.
  ///
  /// A handler is destroyed and never called; an awaiting coroutine is resumed with
  /// `operation_canceled`. The other end reads all bytes that were written, and then the end.
  void close() noexcept { end_.socket.close(); }
  /// Whether this owns an open descriptor: it was neither closed nor moved from.
  [[nodiscard]] bool open() const noexcept { return end_.socket.open(); }

  /// The descriptor, which this object still owns.
  [[nodiscard]] int descriptor() const noexcept { return socket().descriptor(); }
  [[nodiscard]] event_loop& loop() const noexcept { return socket().loop(); }

protected:
  /// An end that is not open. `type` names the derived class in messages: "pipe_reader".
  explicit pipe_base(const char* type) noexcept : type_(type) {}
  pipe_base(const char* type, pipe_end end) noexcept : end_(std::move(end)), type_(type) {}
  pipe_base(pipe_base&&) noexcept = default;
  pipe_base& operator=(pipe_base&&) noexcept = default;
  ~pipe_base() = default;

  /// Reads the bytes that are there, up to the size of the buffer, and returns their number.
  ///
  /// The number is at most 256 KiB, and 64 KiB for a regular file. If no bytes are there, the read
  /// waits for some. It returns 0 at the end: no process has the other end open.
  ///
  /// Errors: `std::system_error`. An empty buffer aborts the program, because its result of 0 would
  /// look like the end of the stream.
  /// Cancelling: no bytes are lost; the next read returns them.
  operation_awaitable<pipe_read_call> read(mutable_buffer into) {
    return {socket(), pipe_read_call(into, *end_.kind)};
  }
  /// Reads the bytes that are there, as the awaited `read` does, and calls `on_read` with their
  /// number or an error.
  void read(mutable_buffer into, handler<void(result<std::size_t>)> on_read);
  /// Reads the bytes that are there without waiting; `std::nullopt` means that there are none.
  ///
  /// The result is the number of bytes, at most 256 KiB, or an error. It is 0 at the end of the
  /// stream. An empty buffer aborts the program.
  [[nodiscard]] std::optional<result<std::size_t>> try_read(mutable_buffer into);

  /// Waits until a read would not wait: there are bytes, the end of the stream, or an error.
  operation_awaitable<pipe_wait_call<readiness::direction::read>> wait_readable() {
    return {socket(), pipe_wait_call<readiness::direction::read>(*end_.kind)};
  }
  /// Waits until a read would not wait, and then calls `on_readable`.
  void wait_readable(handler<void(result<void>)> on_readable);

  /// Writes all the bytes.
  ///
  /// In a handler or a coroutine of the loop, the bytes for which there is space are written within
  /// the call or the `co_await`, unless the turn has used up its budget.
  ///
  /// Errors: `std::system_error`; `broken_pipe` if nobody can read the bytes.
  /// Lifetime: the bytes must outlive the operation.
  /// Cancelling: an unknown part of the bytes has been written.
  operation_awaitable<pipe_write_call> write(const_buffer bytes) {
    return {socket(), pipe_write_call(bytes, *end_.kind)};
  }
  /// Writes all the bytes, as the awaited `write` does, and then calls `on_written`. The bytes must
  /// outlive the operation.
  void write(const_buffer bytes, handler<void(result<void>)> on_written);
  using temporary_write<pipe_base>::write;
  /// Writes as many bytes as there is space for, without waiting, and returns their number.
  ///
  /// `std::nullopt` means that there is no space. The result is an error if the write failed.
  [[nodiscard]] std::optional<result<std::size_t>> try_write(const_buffer bytes);

  /// Writes all the bytes of several buffers, in few system calls: up to 64 buffers in each.
  ///
  /// Errors: `std::system_error`; `broken_pipe` if nobody can read the bytes.
  /// Lifetime: the list of buffers and the bytes must outlive the operation.
  /// Cancelling: an unknown part of the bytes has been written.
  operation_awaitable<pipe_write_call> write(std::span<const const_buffer> buffers) {
    return {socket(), pipe_write_call(buffers, *end_.kind)};
  }
  /// Writes all the bytes of several buffers and then calls `on_written`. The list of buffers and
  /// the bytes must outlive the operation.
  void write(std::span<const const_buffer> buffers, handler<void(result<void>)> on_written);

  /// Waits until a write would not wait: there is space, or the write would fail.
  operation_awaitable<pipe_wait_call<readiness::direction::write>> wait_writable() {
    return {socket(), pipe_wait_call<readiness::direction::write>(*end_.kind)};
  }
  /// Waits until a write would not wait, and then calls `on_writable`.
  void wait_writable(handler<void(result<void>)> on_writable);

  /// Cancels the pending read, and leaves this end open. A handler is destroyed; an awaiting
  /// coroutine is resumed with `operation_canceled`. No bytes are lost.
  void stop_reading() noexcept { socket().stop(readiness::direction::read); }
  /// Cancels the pending write, and leaves this end open. A handler is destroyed; an awaiting
  /// coroutine is resumed with `operation_canceled`. An unknown part of the bytes has been written.
  void stop_writing() noexcept { socket().stop(readiness::direction::write); }

private:
  friend struct pipe_access;

  [[nodiscard]] open_socket& socket() const noexcept {
    open_socket* const own = end_.socket.get();
    if (own == nullptr) not_open();
    own->loop().check_thread();
    return *own;
  }
  [[noreturn, gnu::cold]] void not_open() const noexcept;
  template <class Call>
  void start(const char* operation, Call call, handler<void(result<typename Call::value>)> on_done);

  pipe_end end_;
  const char* type_;
};

}  // namespace eddy::detail
