// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include <sys/types.h>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/buffer.h>
#include <eddy/net/detail/delivery.h>
#include <eddy/net/detail/file_state.h>
#include <eddy/net/pending_operation.h>

namespace eddy {

/// What `open_file` does with a file that exists or is missing, and what the stream may do.
enum class file_mode : std::uint8_t {
  read,              // reads a file that exists
  truncate,          // writes a new file, or empties one that exists
  create_new,        // writes a new file; `file_exists` if there is one
  append,            // writes at the end of a file, which is made if it is missing
  update,            // reads and writes a file that exists
  update_or_create,  // reads and writes a file, which is made if it is missing
};

/// A regular file as a stream of bytes. `open_file` makes it.
///
///     file_stream file = co_await open_file("/var/log/syslog");
///     const std::uint64_t size = co_await copy(file, connection);
///
/// A disk never blocks the loop. A read takes bytes that are in memory at once. The other calls of
/// the system are made by the worker threads of `run_blocking`: reads that need the disk, opening,
/// `size`, `resize`, `sync` and `shutdown`. A write is made at once where the file system can do
/// that without waiting, as XFS and Btrfs can, and by a worker where it cannot.
///
/// Reads and writes have a position each, in bytes from the beginning of the file. Both begin at 0.
/// At most one read and one write may be pending; a second one aborts the program. `size` counts as
/// a read, and `resize`, `sync` and `shutdown` count as writes.
///
/// Errors: a handler gets a `std::error_code`. `co_await` throws a `std::system_error` whose text
/// names the operation and the file. A write beyond the limit RLIMIT_FSIZE raises SIGXFSZ, which
/// ends the program; if the program ignores that signal, the write gives `file_too_large`.
/// Lifetime: the loop must outlive the stream. A buffer must outlive its operation. The stream may
/// be moved while operations are pending.
/// Cancelling: closing or destroying the stream cancels its operations. A handler is destroyed and
/// never called; an awaiting coroutine is resumed with `operation_canceled`. A cancelled read loses
/// no bytes: it does not move the position. A cancelled write has written an unknown part of its
/// bytes. A worker that is inside a call of the system completes that call, and the later
/// operations of this stream wait for it.
class file_stream : public detail::temporary_write<file_stream> {
public:
  /// A stream that is not open: only assigning to it, `open`, `close` and destroying it are
  /// allowed.
  file_stream() noexcept = default;
  /// Takes over the descriptor of a regular file. `descriptor` is closed even if this throws.
  ///
  /// The stream does not use the position that the descriptor has.
  /// Errors: `std::system_error`, with `invalid_argument` if it is no regular file, and
  /// `bad_file_descriptor` if it is closed or was opened with O_PATH; `std::bad_alloc`.
  file_stream(event_loop& loop, int descriptor);
  file_stream(file_stream&& other) noexcept : state_(std::move(other.state_)) {}
  /// Closes this stream and takes over the other one.
  file_stream& operator=(file_stream&& other) noexcept {
    file_stream before(std::move(other));
    std::swap(state_, before.state_);
    return *this;
  }
  /// Closes the stream.
  ~file_stream() { close(); }

  /// Reads the next bytes, up to the size of the buffer, and returns their number: 0 at the end.
  ///
  /// The number is at most 256 KiB. After a read of 0, a later read gets the bytes that were
  /// appended since.
  ///
  /// Errors: `std::system_error`; `bad_file_descriptor` if the mode does not allow reads. An empty
  /// buffer aborts the program.
  /// Cancelling: no bytes are lost; the next read returns them.
  detail::file_read_operation read(mutable_buffer into) { return {share(), into}; }
  /// Reads the next bytes, as the awaited `read` does, and calls `on_read` with their number or an
  /// error.
  void read(mutable_buffer into, handler<void(result<std::size_t>)> on_read);

  /// Writes all the bytes.
  ///
  /// The system has the bytes when this completes, and every reader of the file sees them. Only
  /// `sync` makes sure that the disk has them.
  ///
  /// Errors: `std::system_error`; `broken_pipe` after `shutdown`; `bad_file_descriptor` if the mode
  /// does not allow writes. The position tells how many bytes were written before the error.
  /// Lifetime: the bytes must outlive the operation.
  /// Cancelling: an unknown part of the bytes has been written.
  detail::steps_operation<void> write(const_buffer bytes);
  /// Writes all the bytes, as the awaited `write` does, and then calls `on_written`. The bytes must
  /// outlive the operation.
  void write(const_buffer bytes, handler<void(result<void>)> on_written);
  using detail::temporary_write<file_stream>::write;
  /// Writes all the bytes of several buffers.
  ///
  /// Errors: as for `write` of one buffer.
  /// Lifetime: the list of buffers and the bytes must outlive the operation.
  /// Cancelling: an unknown part of the bytes has been written.
  detail::steps_operation<void> write(std::span<const const_buffer> buffers);
  /// Writes all the bytes of several buffers and then calls `on_written`. The list of buffers and
  /// the bytes must outlive the operation.
  void write(std::span<const const_buffer> buffers, handler<void(result<void>)> on_written);

  /// Ends the writes, and gives the errors that closing the file would hide.
  ///
  /// Some file systems, such as NFS, report a full disk only when a descriptor is closed. A later
  /// write fails with `broken_pipe`. Reading is not affected.
  ///
  /// Errors: those of close(2), such as `io_error` and `no_space_on_device`.
  detail::steps_operation<void> shutdown();
  /// Ends the writes, as the awaited `shutdown` does, and then calls `on_ended`.
  void shutdown(handler<void(result<void>)> on_ended);

  /// Waits until the disk has all bytes that were written: fsync(2). Each mode allows this, also
  /// after `shutdown`.
  ///
  /// Errors: `io_error` if the disk could not take some bytes. The system reports that once: do not
  /// rely on a second `sync`. A new file is found after a crash only if its directory was synced,
  /// too.
  detail::steps_operation<void> sync();
  /// Waits until the disk has all bytes that were written, and then calls `on_synced`.
  void sync(handler<void(result<void>)> on_synced);

  /// Returns the present size of the file in bytes.
  detail::steps_operation<std::uint64_t> size();
  /// Calls `on_size` with the present size of the file in bytes, or an error.
  void size(handler<void(result<std::uint64_t>)> on_size);
  /// Cuts the file off at `size` bytes, or extends it with zeros. The positions stay. After
  /// `shutdown`, this is still possible.
  ///
  /// Errors: `invalid_argument` if the mode does not allow writes; `file_too_large`.
  detail::steps_operation<void> resize(std::uint64_t size);
  /// Cuts the file off at `size` bytes, or extends it with zeros, and then calls `on_resized`.
  void resize(std::uint64_t size, handler<void(result<void>)> on_resized);

  /// The place in the file of the next byte to read.
  [[nodiscard]] std::uint64_t read_position() const noexcept { return state().read_position; }
  /// The place in the file of the next byte to write. `file_mode::append` does not use it.
  [[nodiscard]] std::uint64_t write_position() const noexcept { return state().write_position; }
  /// Moves the next read to `position`, which may lie beyond the end. Aborts the program if a read
  /// is pending.
  void seek_read(std::uint64_t position) noexcept;
  /// Moves the next write to `position`, which may lie beyond the end: the bytes in between are
  /// zeros. Aborts the program if a write is pending.
  void seek_write(std::uint64_t position) noexcept;

  /// Cancels the pending read or `size` that has a handler, if there is one. No bytes are lost.
  void stop_reading() noexcept { state().reader.stop(); }
  /// Cancels the pending write, or operation that counts as a write, that has a handler, if there
  /// is one.
  void stop_writing() noexcept { state().writer.stop(); }

  /// Closes the file and cancels pending operations. Does nothing if the stream is not open.
  ///
  /// This gives no errors, and may wait for a network file system: call `shutdown` first.
  void close() noexcept;
  /// Whether this was neither closed nor moved from.
  [[nodiscard]] bool open() const noexcept { return static_cast<bool>(state_); }

  /// The descriptor, which the stream still owns: for `send_file`, for example.
  [[nodiscard]] int descriptor() const noexcept { return state().descriptor(); }
  [[nodiscard]] event_loop& loop() const noexcept { return state().loop(); }

private:
  friend struct detail::file_access;

  explicit file_stream(detail::file_share state) noexcept : state_(std::move(state)) {}

  [[nodiscard]] detail::file_state& state() const noexcept {
    if (!state_) not_open();
    state_->check_thread();
    return *state_;
  }
  [[nodiscard]] detail::file_share share() const noexcept { return state().share(); }
  [[noreturn]] static void not_open() noexcept;

  detail::file_share state_;
};

/// Opens the regular file `path` on a worker thread.
///
/// The stream belongs to the loop of the awaiting coroutine. `permissions` are those of a file that
/// is made, less the umask. The descriptor is closed in programs that this process starts.
///
/// Errors: `std::system_error`; `is_a_directory`; `invalid_argument` for a pipe, a socket, a device
/// or a path with a zero byte. Its text names the path.
/// Cancelling: the file may have been made or emptied.
detail::steps_operation<file_stream> open_file(std::string path, file_mode mode = file_mode::read,
                                               mode_t permissions = 0666);
/// Opens the regular file `path` on a worker thread, and calls `on_open` with the stream or an
/// error.
///
/// The stream belongs to `loop`. `permissions` are those of a file that is made, less the umask.
///
/// Errors: the handler gets those of the awaited `open_file`, or `not_enough_memory`. The call
/// itself throws `std::bad_alloc`.
/// Cancelling: stopping or destroying the `pending_operation`. The file may have been made or
/// emptied.
pending_operation open_file(event_loop& loop, std::string path, file_mode mode, mode_t permissions,
                            handler<void(result<file_stream>)> on_open);

}  // namespace eddy
