// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <bit>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include <eddy/future/task.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/buffer.h>
#include <eddy/net/byte_stream.h>
#include <eddy/net/detail/buffered_state.h>

namespace eddy {

/// How the length before the bytes of a frame is stored.
struct frame_format {
  std::size_t length_bytes = 4;          // 1, 2, 4 or 8
  std::endian order = std::endian::big;  // of the length's bytes
};

/// Owns a stream, and reads lines, frames and other units from it.
///
///     buffered lines(std::move(stream));
///     for (;;) {
///       const auto line = co_await lines.read_line(1000);
///       if (!line) break;  // the end
///       …
///     }
///
/// Each operation has a form for `co_await` and a form with a handler. A read completes without
/// suspending if its unit has been read already. Units are views into the stream's buffer. They are
/// valid until the next read of this object begins. A buffered stream is a `byte_stream`, too.
///
/// At most one read and one write may be pending at a time; a second one aborts the program. A
/// flush and a shutdown count as writes, and `put` does not.
///
/// Errors: those of the stream. `stream_error::too_long` if a unit is longer than its limit: the
/// error's text names the limit, and no bytes are taken. `stream_error::cut_off` if the stream ends
/// in the middle of a unit: the bytes are still there for `peek` and `read`. If the stream ends
/// before the first byte of a unit, the result is `std::nullopt`, which is no error.
/// Lifetime: the loop must outlive the stream. A `buffered` may be moved while operations are
/// pending. Its read buffer keeps the size of the largest unit, and its write buffers keep the size
/// of the largest flush.
/// Cancelling: closing or destroying a `buffered` cancels its operations and closes its stream;
/// bytes that were not flushed are discarded. A handler is destroyed and never called; an awaiting
/// coroutine is resumed with `operation_canceled`. A cancelled read loses no bytes, also if a part
/// of its unit had arrived. If a write or a flush is cancelled or fails while it sends bytes, an
/// unknown part of them was sent, and later writes and flushes fail with `operation_canceled`.
/// After `stream()` was closed, so do operations that need the stream; reads still give the units
/// that are in the buffer.
template <byte_stream Stream>
class buffered : public detail::temporary_write<buffered<Stream>> {
public:
  /// The result of a read of text: `std::nullopt` at the end of the stream.
  using text = std::optional<std::string_view>;
  /// The result of a read of bytes: `std::nullopt` at the end of the stream.
  using bytes = std::optional<std::span<const std::byte>>;

  /// Takes over a stream. `buffer_size` is the first size of the read buffer, in bytes, and the
  /// number of written bytes that are kept until a flush.
  ///
  /// The default is the size of the largest TLS record (RFC 8446, section 5.1). A size of zero
  /// aborts the program.
  /// Errors: `std::bad_alloc`; then the stream is closed.
  explicit buffered(Stream stream, std::size_t buffer_size = std::size_t{16} * 1024)
      : state_(new detail::buffered_over<Stream>(std::move(stream), buffer_size)) {}
  buffered(buffered&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  /// Closes this stream and takes over the other one.
  buffered& operator=(buffered&& other) noexcept {
    buffered before(std::move(other));
    std::swap(state_, before.state_);
    return *this;
  }
  /// Closes the stream.
  ~buffered() { close(); }

  /// Reads a line of at most `limit` bytes, without its line feed.
  ///
  /// A carriage return before the line feed does not belong to the line either. The result is
  /// `std::nullopt` at the end of the stream.
  /// Errors: `stream_error::too_long`, `stream_error::cut_off`, and those of the stream.
  /// Cancelling: no bytes are lost.
  detail::buffered_read<detail::line_unit> read_line(std::size_t limit) {
    return {state(), detail::line_unit(limit)};
  }
  /// Reads a line of at most `limit` bytes, without its line feed, and calls `on_line` with it.
  void read_line(std::size_t limit, handler<void(result<text>)> on_line) {
    start(read_line(limit), std::move(on_line), "buffered::read_line");
  }
  /// Calls `on_line` with each line of at most `limit` bytes, until the end or an error.
  ///
  /// The last call gets `std::nullopt` or an error; until then, no other read may begin. Other work
  /// of the loop runs between the lines of a long burst. `on_line` may call `stop_reading`, or
  /// close or destroy the stream. An exception that leaves `on_line` ends the calls, too.
  void lines(std::size_t limit, handler<void(result<text>)> on_line) {
    expect_free(on_line, "buffered::lines");
    detail::buffered_state& s = state();
    s.reader.start(s.loop(), each_line(detail::buffered_share(s), limit, std::move(on_line)));
  }

  /// Reads the bytes before `delimiter`, at most `limit`, and takes the delimiter, too.
  ///
  /// The result is `std::nullopt` at the end of the stream. An empty delimiter aborts the program.
  /// Errors: `stream_error::too_long`, `stream_error::cut_off`, and those of the stream.
  /// Lifetime: the delimiter must outlive the operation.
  /// Cancelling: no bytes are lost.
  detail::buffered_read<detail::delimited_unit> read_until(std::string_view delimiter,
                                                           std::size_t limit) {
    return {state(), detail::delimited_unit(delimiter, limit)};
  }
  /// Reads the bytes before `delimiter`, at most `limit`, and calls `on_read` with them. The
  /// delimiter, which is taken too, must outlive the operation.
  void read_until(std::string_view delimiter, std::size_t limit,
                  handler<void(result<text>)> on_read) {
    start(read_until(delimiter, limit), std::move(on_read), "buffered::read_until");
  }

  /// Reads `count` bytes.
  ///
  /// The result is `std::nullopt` if the stream ends before the first of them. The buffer grows as
  /// the bytes arrive.
  /// Errors: `stream_error::cut_off` and those of the stream.
  /// Cancelling: no bytes are lost.
  detail::buffered_read<detail::exact_unit> read_exactly(std::size_t count) {
    return {state(), detail::exact_unit(count)};
  }
  /// Reads `count` bytes and calls `on_read` with them.
  void read_exactly(std::size_t count, handler<void(result<bytes>)> on_read) {
    start(read_exactly(count), std::move(on_read), "buffered::read_exactly");
  }

  /// Reads a frame: a length, and then so many bytes, at most `limit`.
  ///
  /// The result is the bytes behind the length, or `std::nullopt` at the end of the stream. A
  /// length over the limit fails at once, before the bytes arrive. A length of other than 1, 2, 4
  /// or 8 bytes aborts the program. Errors: `stream_error::too_long`, `stream_error::cut_off`, and
  /// those of the stream. Cancelling: no bytes are lost.
  detail::buffered_read<detail::frame_unit> read_frame(frame_format format, std::size_t limit) {
    return {state(), detail::frame_unit(format.length_bytes, format.order, limit)};
  }
  /// Reads a frame of at most `limit` bytes and calls `on_frame` with the bytes behind its length.
  void read_frame(frame_format format, std::size_t limit, handler<void(result<bytes>)> on_frame) {
    start(read_frame(format, limit), std::move(on_frame), "buffered::read_frame");
  }

  /// Waits for `count` bytes and gives a view of them. The next read gives them again.
  ///
  /// The view is shorter only if the stream ends earlier.
  /// Errors: those of the stream.
  detail::buffered_read<detail::peek_unit> peek(std::size_t count) {
    return {state(), detail::peek_unit(count)};
  }
  /// Waits for `count` bytes, or the end, and calls `on_bytes` with a view of them. The next read
  /// gives them again.
  void peek(std::size_t count, handler<void(result<std::span<const std::byte>>)> on_bytes) {
    start(peek(count), std::move(on_bytes), "buffered::peek");
  }

  /// Reads the bytes that are there, up to the size of the buffer, and returns their number.
  ///
  /// If no bytes are there, the read waits for some. It returns 0 at the end of the stream.
  /// Errors: those of the stream. An empty buffer aborts the program.
  /// Cancelling: no bytes are lost.
  detail::buffered_read<detail::some_unit> read(mutable_buffer into) {
    return {state(), detail::some_unit(into)};
  }
  /// Reads the bytes that are there, and calls `on_read` with their number.
  void read(mutable_buffer into, handler<void(result<std::size_t>)> on_read) {
    start(read(into), std::move(on_read), "buffered::read");
  }

  /// Returns a line if it is in the buffer; `std::nullopt` means that a read would have to wait.
  [[nodiscard]] std::optional<result<text>> try_read_line(std::size_t limit) {
    return attempt(detail::line_unit(limit));
  }
  /// Returns a frame if it is in the buffer; `std::nullopt` means that a read would have to wait.
  [[nodiscard]] std::optional<result<bytes>> try_read_frame(frame_format format,
                                                            std::size_t limit) {
    return attempt(detail::frame_unit(format.length_bytes, format.order, limit));
  }

  /// The bytes that were read from the stream and not taken yet.
  [[nodiscard]] std::string_view unread() const noexcept {
    const detail::read_buffer& in = state().in;
    return {in.data(), in.size()};
  }

  /// Writes bytes into the buffer of this object, and sends them only if the buffer is full.
  ///
  /// If the bytes do not fit, one write of the stream sends the bytes in the buffer and these.
  /// Errors: those of the stream.
  /// Lifetime: the bytes must outlive the operation.
  /// Cancelling: an unknown part of the bytes has been sent, and later writes fail.
  task<> write(const_buffer all) {
    return detail::buffered_write(detail::buffered_share(state()), all);
  }
  /// Writes bytes into the buffer, as the awaited `write` does, and then calls `on_written`. The
  /// bytes must outlive the operation.
  void write(const_buffer all, handler<void(result<void>)> on_written) {
    start_write(write(all), std::move(on_written), "buffered::write");
  }
  using detail::temporary_write<buffered<Stream>>::write;
  /// Writes the bytes of several buffers, as `write` of one buffer does.
  ///
  /// Errors: those of the stream.
  /// Lifetime: the list of buffers and the bytes must outlive the operation.
  /// Cancelling: an unknown part of the bytes has been sent, and later writes fail.
  task<> write(std::span<const const_buffer> buffers) {
    return detail::buffered_write_all(detail::buffered_share(state()), buffers);
  }
  /// Writes the bytes of several buffers, and then calls `on_written`. The list of buffers and the
  /// bytes must outlive the operation.
  void write(std::span<const const_buffer> buffers, handler<void(result<void>)> on_written) {
    start_write(write(buffers), std::move(on_written), "buffered::write");
  }

  /// Writes a frame: the length of `payload`, and then its bytes, as `write` does.
  ///
  /// Errors: `stream_error::too_long` if the length does not fit its bytes; those of the stream.
  /// Lifetime: the payload must outlive the operation.
  /// Cancelling: an unknown part of the bytes has been sent, and later writes fail.
  task<> write_frame(frame_format format, const_buffer payload) {
    detail::expect_length_size(format.length_bytes);
    return detail::buffered_write_frame(detail::buffered_share(state()), format.length_bytes,
                                        format.order, payload);
  }
  /// Writes a frame, and then calls `on_written`. The payload must outlive the operation.
  void write_frame(frame_format format, const_buffer payload,
                   handler<void(result<void>)> on_written) {
    start_write(write_frame(format, payload), std::move(on_written), "buffered::write_frame");
  }

  /// Adds bytes to those that the next flush sends, without waiting and without a limit.
  ///
  /// This copies the bytes. A `flush` that is pending sends them, too.
  /// Errors: `std::bad_alloc`.
  void put(const_buffer all) { state().append(all); }
  /// The number of bytes that wait for a flush.
  [[nodiscard]] std::size_t unflushed() const noexcept {
    return state().waiting.size() + state().sending.size();
  }

  /// Sends all bytes that were written.
  ///
  /// Errors: those of the stream.
  /// Cancelling: an unknown part of the bytes has been sent, and later writes fail.
  task<> flush() { return detail::buffered_flush(detail::buffered_share(state())); }
  /// Sends all bytes that were written, and then calls `on_flushed`.
  void flush(handler<void(result<void>)> on_flushed) {
    start_write(flush(), std::move(on_flushed), "buffered::flush");
  }

  /// Sends all bytes that were written, and ends the sending side.
  ///
  /// Errors: those of the stream.
  task<> shutdown() { return detail::buffered_shutdown(detail::buffered_share(state())); }
  /// Sends all bytes that were written, ends the sending side, and calls `on_ended`.
  void shutdown(handler<void(result<void>)> on_ended) {
    start_write(shutdown(), std::move(on_ended), "buffered::shutdown");
  }

  /// Cancels the pending read that has a handler, if there is one, or `lines`. No bytes are lost.
  void stop_reading() noexcept { state().reader.stop(); }

  /// Closes the stream and cancels pending operations. Does nothing if the stream is not open.
  void close() noexcept {
    if (state_ == nullptr) return;
    detail::buffered_over<Stream>* const dying = std::exchange(state_, nullptr);
    dying->close();
    dying->release();
  }
  /// Whether this was neither closed nor moved from.
  [[nodiscard]] bool open() const noexcept { return state_ != nullptr; }

  /// The stream below. Reading from it directly skips the bytes in `unread`.
  [[nodiscard]] Stream& stream() noexcept { return state().stream; }
  [[nodiscard]] event_loop& loop() const noexcept { return state().loop(); }

private:
  [[nodiscard]] detail::buffered_over<Stream>& state() const noexcept {
    if (state_ == nullptr) {
      detail::misuse("a buffered stream was used that is not open: it was closed, or moved from");
    }
    state_->loop().check_thread();
    return *state_;
  }

  template <class Handler>
  void expect_free(const Handler& on_done, const char* who) const noexcept {
    detail::expect_handler(on_done, who);
    if (!state().reading && !state().reader.active()) return;
    detail::misuse("a read is already pending on this buffered stream");
  }
  template <class Operation, class Handler>
  void start(Operation operation, Handler on_done, const char* who) {
    expect_free(on_done, who);
    detail::buffered_state& s = state();
    s.reader.start(s.loop(), std::move(operation), std::move(on_done));
  }
  void start_write(task<> work, handler<void(result<void>)> on_done, const char* who) {
    detail::expect_handler(on_done, who);
    detail::buffered_state& s = state();
    if (s.sender.active()) {
      detail::misuse("a write is already pending on this buffered stream");
    }
    s.sender.start(s.loop(), std::move(work), std::move(on_done));
  }
  template <class Unit>
  std::optional<result<typename Unit::value>> attempt(Unit unit) {
    detail::buffered_state& s = state();
    if (s.reading || s.reader.active()) {
      detail::misuse("a read is already pending on this buffered stream");
    }
    if (!unit.attempt(s.in)) return std::nullopt;
    if (unit.failed()) return std::unexpected(unit.error());
    return unit.take(s.in);
  }

  detail::buffered_over<Stream>* state_;
};

}  // namespace eddy
