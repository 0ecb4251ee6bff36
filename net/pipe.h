// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/buffer.h>
#include <eddy/net/detail/operation.h>
#include <eddy/net/detail/pipe_base.h>
#include <eddy/net/detail/pipe_calls.h>

namespace eddy {

/// The end of a pipe from which a program reads, or the standard input.
///
/// `make_pipe`, `standard_input` and `process` make it. Each operation has the forms that
/// `tcp_stream` has: with a handler, for `co_await`, and `try_`. At most one read may be pending;
/// `wait_readable` counts as a read. `<eddy/net/detail/pipe_base.h>` documents the operations.
///
/// Errors: a handler gets a `std::error_code`. `co_await` throws a `std::system_error` whose text
/// names the operation and the kind of stream.
/// Lifetime: the loop must outlive the reader. A buffer must outlive its operation. The reader may
/// be moved while an operation is pending.
/// Cancelling: closing or destroying the reader cancels its read. A handler is destroyed and never
/// called; an awaiting coroutine is resumed with `operation_canceled`. A cancelled read loses no
/// bytes: the next read returns them.
class pipe_reader : public detail::pipe_base {
public:
  /// A reader that is not open: only assigning to it, `open`, `close` and destroying it are
  /// allowed.
  pipe_reader() noexcept : pipe_base(type) {}
  /// Takes over the reading end of a pipe. `descriptor` is closed even if this throws.
  ///
  /// The descriptor becomes non-blocking and close-on-exec. Use this only for a pipe whose reading
  /// end no other process has: the flag would change for that process, too.
  /// Errors: `std::system_error` if `descriptor` is not open; `std::bad_alloc`.
  pipe_reader(event_loop& loop, int descriptor);

  using pipe_base::read;
  using pipe_base::stop_reading;
  using pipe_base::try_read;
  using pipe_base::wait_readable;

private:
  friend struct detail::pipe_access;

  explicit pipe_reader(detail::pipe_end end) noexcept : pipe_base(type, std::move(end)) {}

  static constexpr const char* type = "pipe_reader";
};

/// The end of a pipe to which a program writes, or the standard output or error.
///
/// `make_pipe`, `standard_output`, `standard_error` and `process` make it. Each operation has the
/// forms that `tcp_stream` has: with a handler, for `co_await`, and `try_`. At most one write may
/// be pending; `wait_writable` counts as a write. `<eddy/net/detail/pipe_base.h>` documents the
/// operations.
///
/// Errors: a handler gets a `std::error_code`. `co_await` throws a `std::system_error` whose text
/// names the operation and the kind of stream. `broken_pipe` means that every process has closed
/// the reading end. No write raises SIGPIPE, and the program's SIGPIPE action is not changed.
/// Lifetime: the loop must outlive the writer. The bytes must outlive their operation. The writer
/// may be moved while an operation is pending.
/// Cancelling: closing or destroying the writer cancels its write. A handler is destroyed and never
/// called; an awaiting coroutine is resumed with `operation_canceled`. A cancelled write has
/// written an unknown part of its bytes.
class pipe_writer : public detail::pipe_base {
public:
  /// A writer that is not open: only assigning to it, `open`, `close` and destroying it are
  /// allowed.
  pipe_writer() noexcept : pipe_base(type) {}
  /// Takes over the writing end of a pipe. `descriptor` is closed even if this throws.
  ///
  /// The descriptor becomes non-blocking and close-on-exec. Use this only for a pipe whose writing
  /// end no other process has: the flag would change for that process, too.
  /// Errors: `std::system_error` if `descriptor` is not open; `std::bad_alloc`.
  pipe_writer(event_loop& loop, int descriptor);

  using pipe_base::stop_writing;
  using pipe_base::try_write;
  using pipe_base::wait_writable;
  using pipe_base::write;

private:
  friend struct detail::pipe_access;

  explicit pipe_writer(detail::pipe_end end) noexcept : pipe_base(type, std::move(end)) {}

  static constexpr const char* type = "pipe_writer";
};

/// A reader and a writer as one stream of bytes in both directions.
///
///     pipe_stream user(standard_input(loop), standard_output(loop));
///
/// It has the members of a `tcp_stream` that transfer bytes, for functions that take any stream.
/// `reader` and `writer` have the other members.
///
/// Errors: those of `pipe_reader` and `pipe_writer`.
/// Lifetime: the loop must outlive the stream. It may be moved while operations are pending.
/// Cancelling: as for `pipe_reader` and `pipe_writer`. A cancelled read loses no bytes; a cancelled
/// write has written an unknown part of its bytes.
class pipe_stream : public detail::temporary_write<pipe_stream> {
public:
  /// A stream that is not open.
  pipe_stream() noexcept = default;
  /// Takes over both ends, which must be on one loop.
  pipe_stream(pipe_reader r, pipe_writer w) noexcept
      : reader_(std::move(r)), writer_(std::move(w)) {}

  /// Reads the bytes that are there, as `pipe_reader::read` does.
  detail::operation_awaitable<detail::pipe_read_call> read(mutable_buffer into) {
    return reader_.read(into);
  }
  /// Reads the bytes that are there, and calls `on_read` with their number or an error.
  void read(mutable_buffer into, handler<void(result<std::size_t>)> on_read) {
    reader_.read(into, std::move(on_read));
  }
  /// Reads the bytes that are there without waiting; `std::nullopt` means that there are none.
  [[nodiscard]] std::optional<result<std::size_t>> try_read(mutable_buffer into) {
    return reader_.try_read(into);
  }

  /// Writes all the bytes, as `pipe_writer::write` does.
  detail::operation_awaitable<detail::pipe_write_call> write(const_buffer bytes) {
    return writer_.write(bytes);
  }
  /// Writes all the bytes and then calls `on_written`. The bytes must outlive the operation.
  void write(const_buffer bytes, handler<void(result<void>)> on_written) {
    writer_.write(bytes, std::move(on_written));
  }
  using detail::temporary_write<pipe_stream>::write;
  /// Writes all the bytes of several buffers, as `pipe_writer::write` does.
  detail::operation_awaitable<detail::pipe_write_call> write(
      std::span<const const_buffer> buffers) {
    return writer_.write(buffers);
  }
  /// Writes all the bytes of several buffers and then calls `on_written`. The list of buffers and
  /// the bytes must outlive the operation.
  void write(std::span<const const_buffer> buffers, handler<void(result<void>)> on_written) {
    writer_.write(buffers, std::move(on_written));
  }
  /// Writes as many bytes as there is space for, without waiting, and returns their number.
  [[nodiscard]] std::optional<result<std::size_t>> try_write(const_buffer bytes) {
    return writer_.try_write(bytes);
  }

  /// Closes the writer: the other side reads all bytes that were written, and then the end. Cancels
  /// a pending write. Reading is not affected. The other side of a `standard_output` reads no end,
  /// because descriptor 1 stays open.
  void shutdown() noexcept { writer_.close(); }
  /// Closes both ends, and cancels pending operations as `pipe_reader` and `pipe_writer` do.
  void close() noexcept {
    reader_.close();
    writer_.close();
  }
  /// Whether this stream has an open reader.
  [[nodiscard]] bool open() const noexcept { return reader_.open(); }

  [[nodiscard]] pipe_reader& reader() noexcept { return reader_; }
  [[nodiscard]] pipe_writer& writer() noexcept { return writer_; }
  [[nodiscard]] event_loop& loop() const noexcept { return reader_.loop(); }

private:
  pipe_reader reader_;
  pipe_writer writer_;
};

/// The two ends of a pipe.
struct pipe_ends {
  pipe_ends(pipe_reader r, pipe_writer w) noexcept : reader(std::move(r)), writer(std::move(w)) {}

  pipe_reader reader;
  pipe_writer writer;
};

/// Makes a pipe within this process.
/// Errors: `std::system_error` if no descriptor is free; `std::bad_alloc`.
[[nodiscard]] pipe_ends make_pipe(event_loop& loop);

/// Makes a reader of the standard input, descriptor 0, which stays open as it was.
///
/// O_NONBLOCK belongs to the open file description, which this process shares with the shell that
/// started it. So this changes no flag. It depends on the kind of the standard input:
///
/// - A pipe or a terminal is opened anew, through /proc/self/fd, and the new description is
///   non-blocking. If the system does not allow that (another user's terminal, no /proc), the
///   stream uses the shared description with RWF_NOWAIT, or where the kernel lacks that (terminals,
///   pipes before Linux 6.4) with a poll before each call. Such a call blocks only if another
///   process takes the bytes between the poll and the call.
/// - A socket is used with MSG_DONTWAIT.
/// - A regular file is always ready. It keeps its position, and each read takes at most 64 KiB. A
///   read may wait for the disk.
/// - /dev/null, other devices and objects that are no file, such as an eventfd, are used with
///   RWF_NOWAIT, or with a poll before each call.
///
/// A daemon may be started with descriptor 0, 1 or 2 closed. Its loop then takes that number for a
/// descriptor of its own. So such a program opens /dev/null at these numbers before it makes the
/// loop.
///
/// Errors: `std::system_error` if descriptor 0 is closed or no descriptor is free;
/// `std::bad_alloc`. If it was opened for writing only, each read gives `bad_file_descriptor`.
[[nodiscard]] pipe_reader standard_input(event_loop& loop);

/// Makes a writer of the standard output, descriptor 1, which stays open as it was. So the other
/// side reads the end only when the program has closed descriptor 1, too.
///
/// This does not change the flags that this process shares with the shell, as `standard_input` does
/// not. If the stream needs a poll before each call, a write takes at most 4,096 bytes (PIPE_BUF),
/// and blocks while a terminal is stopped (Ctrl-S).
///
/// Errors: `std::system_error` if descriptor 1 is closed or no descriptor is free;
/// `std::bad_alloc`. If it was opened for reading only, each write gives `bad_file_descriptor`.
[[nodiscard]] pipe_writer standard_output(event_loop& loop);

/// Makes a writer of the standard error, descriptor 2, as `standard_output` does for descriptor 1.
/// Errors: `std::system_error` if descriptor 2 is closed or no descriptor is free;
/// `std::bad_alloc`.
[[nodiscard]] pipe_writer standard_error(event_loop& loop);

}  // namespace eddy
