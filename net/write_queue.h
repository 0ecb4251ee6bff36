// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <cstddef>
#include <span>
#include <system_error>
#include <utility>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/buffer.h>
#include <eddy/net/byte_stream.h>
#include <eddy/net/detail/write_queue_state.h>
#include <eddy/net/shared_bytes.h>

namespace eddy {

/// Owns a stream and queues the bytes that are written to it, up to a limit.
///
///     stop_source failed;
///     write_queue out(std::move(stream));
///     out.on_error([&](std::error_code) { failed.request_stop(); });
///     out.put("hello\n");
///     for (;;) {
///       auto next = co_await select(out.stream().read(buffer), failed.token());
///       if (next.index() == 1 || std::get<0>(next) == 0) co_return;  // this closes the queue
///       out.put(answer);
///     }
///
/// `put` returns at once. All bytes of one turn leave together before the loop waits, in one system
/// call if they are up to 512 pieces and 256 KiB. Pieces that are copied count as one piece for
/// every 2,000 bytes. Bytes that the kernel does not take stay queued, and the loop sends them when
/// the peer has read. To send one message to many peers, make a `shared_bytes` and put it into
/// each queue: no queue copies it.
///
/// A peer that reads slowly is noticed in two steps. `on_high_water` and `on_low_water` tell when
/// to pause the source of the bytes and when to go on; `wait_low` is the same for a coroutine.
/// Beyond `limit`, `put` fails, because a part of a stream cannot be left out.
///
/// The stream may be of any type that is a `byte_stream`, also of the program's own. The queue uses
/// four more members, if the stream has them:
///
/// - `try_write(std::span<const const_buffer>)` returns a `std::optional<result<std::size_t>>`: the
///   number of bytes that were sent without waiting, an error, or nothing if the stream is full.
///   Without it, each write is an operation that the loop completes.
/// - `write(std::span<const const_buffer>, handler<void(result<void>)>)` calls back. Without it,
///   the queue awaits the other `write`.
/// - `flush()`, as `buffered` has it, sends the bytes that a write has left in the stream. The
///   queue then awaits a `write` and a `flush` each time, and uses neither of the members above.
/// - `open()` tells whether the stream was closed. Without it, the queue learns from the error of
///   its next write that the program has closed `stream()`.
///
/// Read from `stream()`, which aborts the program once the queue is closed. So `on_error` does not
/// close the queue beside a coroutine that reads, but ends that coroutine, as above: it requests a
/// stop, or destroys the session. Do not write to `stream()` directly while bytes are queued. To
/// end the sending side, wait for `flush`, and then call `shutdown` of `stream()`. Queued bytes
/// keep the loop running.
///
/// Errors: the first error is told once, to `on_error`: `no_buffer_space` if the limit was passed,
/// `operation_canceled` if `stream()` was closed, else an error of the stream. After an error,
/// `put` returns false and does nothing. After an error of the stream, the queued bytes are gone.
/// After `no_buffer_space`, bytes that were queued before are still sent.
/// Lifetime: the loop must outlive the queue. A handler may destroy the queue. The queue may be
/// moved at any time.
/// Cancelling: closing or destroying the queue discards its bytes and closes the stream. Handlers
/// are destroyed and never called; awaiting coroutines are resumed with `operation_canceled`. A
/// cancelled `flush` or `wait_low` changes nothing.
template <byte_stream Stream>
class write_queue {
public:
  /// The limits, in bytes: `limit` (32 MiB), `high_water` (256 KiB) and `low_water` (64 KiB).
  /// <eddy/net/detail/write_queue_state.h> documents them, as `write_queue_options`.
  using options = write_queue_options;

  /// Takes over a stream. Aborts with a message if `low_water` is above `high_water`.
  /// Errors: `std::bad_alloc`; then the stream is closed.
  explicit write_queue(Stream stream, const options& how = options())
      : state_(new detail::write_queue_over<Stream>(std::move(stream), how)) {}
  write_queue(write_queue&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  /// Closes this queue and takes over the other one.
  write_queue& operator=(write_queue&& other) noexcept {
    write_queue before(std::move(other));
    std::swap(state_, before.state_);
    return *this;
  }
  /// Closes the queue.
  ~write_queue() { close(); }

  /// Queues a copy of the bytes. Returns false if the queue has failed or has no space for them.
  ///
  /// If there is no space within `limit`, nothing is queued, and the queue fails with
  /// `no_buffer_space`.
  /// Errors: `std::bad_alloc`; then nothing is queued.
  bool put(const const_buffer bytes) { return add(bytes, true); }
  /// Queues the bytes without a copy, and shares them until they are sent. Returns false if the
  /// queue has failed or has no space for them, as for a copy.
  /// Errors: `std::bad_alloc`; then nothing is queued.
  bool put(const shared_bytes& bytes) { return add(bytes, true); }

  /// Queues a copy of the bytes if there is space within `limit`. Otherwise returns false, and the
  /// queue does not fail.
  /// Errors: `std::bad_alloc`; then nothing is queued.
  [[nodiscard]] bool try_put(const const_buffer bytes) { return add(bytes, false); }
  /// Queues the bytes without a copy if there is space within `limit`. Otherwise returns false, and
  /// the queue does not fail.
  /// Errors: `std::bad_alloc`; then nothing is queued.
  [[nodiscard]] bool try_put(const shared_bytes& bytes) { return add(bytes, false); }

  /// Sets the function that is called when more than `high_water` bytes are queued after the kernel
  /// has taken what it can. Null removes it.
  void on_high_water(handler<void()> on_high) {
    const auto old = state().set_on_high(std::move(on_high));
  }
  /// Sets the function that is called when, after a call of `on_high_water`, no more than
  /// `low_water` bytes are queued. Null removes it.
  void on_low_water(handler<void()> on_low) {
    const auto old = state().set_on_low(std::move(on_low));
  }
  /// Sets the function that is called once, with the first error. Null removes it.
  ///
  /// If the queue has failed, and nobody was told, the loop calls `on_error` in its next turn.
  void on_error(handler<void(std::error_code)> on_error) {
    const auto old = state().set_on_error(std::move(on_error));
  }

  /// Suspends the coroutine until the kernel has taken all bytes that are queued now.
  ///
  /// Bytes that are queued later do not delay it. Several may be pending at a time.
  /// Errors: an error of the stream, because of which these bytes cannot be sent.
  detail::write_queue_operation flush() {
    return {state().share(), detail::write_queue_state::goal::flushed};
  }
  /// Calls `on_flushed` when the kernel has taken all bytes that are queued now, or with the error
  /// because of which it cannot. Several may be pending at a time.
  void flush(handler<void(result<void>)> on_flushed) {
    detail::expect_handler(on_flushed, "write_queue::flush");
    state().wait(detail::write_queue_state::goal::flushed, std::move(on_flushed));
  }

  /// Suspends the coroutine until no more than `low_water` bytes are queued.
  ///
  /// Several may be pending at a time.
  /// Errors: an error of the stream.
  detail::write_queue_operation wait_low() {
    return {state().share(), detail::write_queue_state::goal::low};
  }
  /// Calls `on_low` once, when no more than `low_water` bytes are queued, or with an error of the
  /// stream. Several may be pending at a time.
  void wait_low(handler<void(result<void>)> on_low) {
    detail::expect_handler(on_low, "write_queue::wait_low");
    state().wait(detail::write_queue_state::goal::low, std::move(on_low));
  }

  /// Returns the number of queued bytes, which the kernel has not taken yet.
  [[nodiscard]] std::size_t queued() const noexcept { return state().queued(); }
  /// Returns the first error; a zero code if there is none.
  [[nodiscard]] std::error_code error() const noexcept { return state().error(); }

  /// Discards the queued bytes, closes the stream and cancels pending operations. Does nothing if
  /// the queue is not open.
  void close() noexcept {
    if (state_ == nullptr) return;
    state_->check_thread();
    const detail::write_queue_share dying(std::exchange(state_, nullptr));
    dying->close();
  }
  /// Whether this was neither closed nor moved from.
  [[nodiscard]] bool open() const noexcept { return state_ != nullptr; }

  /// The stream below, to read from.
  [[nodiscard]] Stream& stream() noexcept { return state().stream; }
  [[nodiscard]] event_loop& loop() const noexcept { return state().loop(); }

private:
  [[nodiscard]] detail::write_queue_over<Stream>& state() const noexcept {
    if (state_ == nullptr) {
      detail::misuse("a write_queue was used that is not open: it was closed, or moved from");
    }
    state_->check_thread();
    return *state_;
  }
  template <class Bytes>
  bool add(const Bytes& bytes, bool fails) {
    detail::write_queue_over<Stream>& s = state();
    if (!s.accepts(bytes.size(), fails)) return false;
    s.put(bytes);
    return true;
  }

  detail::write_queue_over<Stream>* state_;
};

}  // namespace eddy
