// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// The state that a stream around another stream shares with its operations, which are tasks, and
// the awaiter of a read.

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <span>
#include <system_error>
#include <utility>

#include <eddy/future/detail/frame.h>
#include <eddy/future/task.h>
#include <eddy/loop/detail/counted.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/buffer.h>
#include <eddy/net/byte_stream.h>
#include <eddy/net/detail/callback_task.h>
#include <eddy/net/detail/expect_space.h>
#include <eddy/net/detail/write_observer.h>

namespace eddy::detail {

/// The base class of the state of a stream around another stream. The owner and the tasks own it
/// together, so that a task may find the stream closed, but never destroyed.
class held_stream : public counted<held_stream> {
public:
  virtual ~held_stream() = default;

  virtual task<std::size_t> read(mutable_buffer into) = 0;
  /// Writes all bytes, and tells `observer`, unless it is null, of each part that has moved.
  virtual task<> write(const_buffer bytes, write_observer* observer) = 0;
  virtual task<> write_all(std::span<const const_buffer> buffers) = 0;
  virtual task<> end_sending() = 0;
  virtual void close_stream() noexcept = 0;
  [[nodiscard]] virtual event_loop& loop() const noexcept = 0;

  void check_thread() const noexcept { loop().check_thread(); }

  void close() noexcept;
  /// Throws an error if this was closed before the operation began.
  void expect_open() const {
    if (closed) throw_error(std::errc::operation_canceled, "use a closed stream");
  }

  /// Marks a direction as in use while an operation of it exists.
  class direction {
  public:
    direction(bool& used, const char* busy) : used_(used) {
      if (used_) misuse(busy);
      used_ = true;
    }
    direction(const direction&) = delete;
    direction& operator=(const direction&) = delete;
    ~direction() { used_ = false; }

  private:
    bool& used_;
  };

  bool closed = false;
  bool read_pending = false;
  bool write_pending = false;
  callback_task reader;
  callback_task writer;
};

/// The state of a stream around a `Stream`. Derived classes add the reads and the writes.
template <byte_stream Stream>
class held_around : public held_stream {
public:
  explicit held_around(Stream&& stream) : stream_(std::move(stream)), loop_(stream_.loop()) {}

  task<> end_sending() override { return shut_down(stream_); }
  void close_stream() noexcept override { stream_.close(); }
  [[nodiscard]] event_loop& loop() const noexcept override { return loop_; }

protected:
  Stream stream_;
  event_loop& loop_;  // which a closed stream may not know
};

using held_share = counted_ptr<held_stream>;

/// The operations. A task keeps the state alive, and begins only if the stream is open.
task<std::size_t> read_held(held_share held, mutable_buffer into);
task<> write_held(held_share held, const_buffer bytes, write_observer* observer);
task<> write_held_list(held_share held, std::span<const const_buffer> buffers);
task<> shut_down_held(held_share held);

/// The public members of a stream around another stream.
class stream_around : public temporary_write<stream_around> {
public:
  stream_around(stream_around&& other) noexcept : held_(std::move(other.held_)) {}
  stream_around& operator=(stream_around&& other) noexcept {
    stream_around before(std::move(other));
    std::swap(held_, before.held_);
    return *this;
  }
  ~stream_around() { close(); }

  /// Reads the bytes that are there, up to the size of the buffer, and returns their number: 0 at
  /// the end.
  ///
  /// Errors: those of the stream below. An empty buffer aborts the program.
  /// Cancelling: no bytes are lost.
  [[nodiscard]] task<std::size_t> read(mutable_buffer into) {
    expect_space(into);
    return read_held(share(), into);
  }
  /// Reads the bytes that are there, and calls `on_read` with their number or an error.
  void read(mutable_buffer into, handler<void(result<std::size_t>)> on_read);

  /// Writes all the bytes.
  ///
  /// Errors: those of the stream below.
  /// Lifetime: the bytes must outlive the operation.
  /// Cancelling: an unknown part of the bytes has been sent, so close the stream.
  [[nodiscard]] task<> write(const_buffer bytes) { return write_held(share(), bytes, nullptr); }
  /// For eddy: an awaited write that tells of each part that has moved.
  [[nodiscard]] task<> write(const_buffer bytes, write_observer& observer) {
    return write_held(share(), bytes, &observer);
  }
  /// Writes all the bytes, which must outlive the operation, and then calls `on_written`.
  void write(const_buffer bytes, handler<void(result<void>)> on_written);
  using temporary_write<stream_around>::write;
  /// Writes all the bytes of several buffers.
  ///
  /// Errors: those of the stream below.
  /// Lifetime: the list of buffers and the bytes must outlive the operation.
  /// Cancelling: an unknown part of the bytes has been sent, so close the stream.
  [[nodiscard]] task<> write(std::span<const const_buffer> buffers) {
    return write_held_list(share(), buffers);
  }
  /// Writes all the bytes of several buffers and then calls `on_written`. The list of buffers and
  /// the bytes must outlive the operation.
  void write(std::span<const const_buffer> buffers, handler<void(result<void>)> on_written);

  /// Ends the sending side: the peer reads all bytes that were written, and then the end.
  ///
  /// Errors: those of the stream below.
  [[nodiscard]] task<> shutdown() { return shut_down_held(share()); }
  /// Ends the sending side, and then calls `on_ended`.
  void shutdown(handler<void(result<void>)> on_ended);

  /// Cancels the pending read that has a handler, if there is one. No bytes are lost.
  void stop_reading() noexcept { held().reader.stop(); }
  /// Cancels the pending write or shutdown that has a handler, if there is one.
  void stop_writing() noexcept { held().writer.stop(); }

  /// Closes the stream and cancels pending operations. Does nothing if the stream is not open.
  void close() noexcept {
    if (!held_) return;
    held_->check_thread();
    const held_share dying = std::move(held_);
    dying->close();
  }
  /// Whether this was neither closed nor moved from.
  [[nodiscard]] bool open() const noexcept { return static_cast<bool>(held_); }
  [[nodiscard]] event_loop& loop() const noexcept { return held().loop(); }

protected:
  stream_around() noexcept = default;
  /// Takes over the first share of `made`.
  explicit stream_around(held_stream* made) noexcept : held_(made) {}

  [[nodiscard]] held_stream& held() const noexcept {
    if (!held_) misuse("a stream was used that is not open: it was closed, or moved from");
    held_->check_thread();
    return *held_;
  }

private:
  [[nodiscard]] held_share share() const noexcept { return held().share(); }

  held_share held_;
};

}  // namespace eddy::detail
