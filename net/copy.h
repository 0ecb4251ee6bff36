// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include <eddy/future/as_result.h>
#include <eddy/future/detail/frame.h>
#include <eddy/future/join.h>
#include <eddy/future/task.h>
#include <eddy/future/yield.h>
#include <eddy/loop/clock.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/buffer.h>
#include <eddy/net/byte_stream.h>
#include <eddy/net/detail/delivery.h>
#include <eddy/net/detail/idle_wait.h>
#include <eddy/net/detail/operation.h>
#include <eddy/net/detail/splice_calls.h>
#include <eddy/net/detail/stream_access.h>
#include <eddy/net/detail/write_observed.h>
#include <eddy/net/detail/write_observer.h>
#include <eddy/net/pending_operation.h>

namespace eddy {

/// The numbers of bytes that `copy_bidirectional` has copied.
struct copied {
  std::uint64_t a_to_b = 0;
  std::uint64_t b_to_a = 0;
};

/// Settings of `copy`, `tee` and `copy_bidirectional`, whose progress is a `Progress`.
///
///     copy_options options;
///     options.idle_limit = 30s;
///     co_await copy(from, to, std::move(options));
///
/// The type is no aggregate, so braces cannot name its members: g++ 12 destroys the members of an
/// aggregate twice that is made in a `co_await` expression.
template <class Progress>
struct copy_settings {
  copy_settings() = default;

  /// The size in bytes of the buffer of each direction. Zero aborts the program.
  ///
  /// The default is the size of a pipe's buffer in Linux (pipe(7)). If the bytes pass through the
  /// program, as they do with TLS, the copy keeps the buffer for as long as it runs, also while the
  /// connection is idle. An idle relay between TLS and TCP was measured to take 83 to 105 KiB with
  /// the default. Between two sockets, the buffer is the kernel's, and an idle copy has no bytes
  /// in it.
  std::size_t buffer_size = std::size_t{64} * 1024;
  /// If no bytes move for this time, the copy fails with `timed_out`. Without it, there is no
  /// limit.
  ///
  /// Bytes have moved when the copy has read some, or when a target has taken some, even if it has
  /// not taken the whole buffer yet. The kernel is such a target: it takes the next bytes when the
  /// peer has acknowledged enough. eddy's streams tell the copy of each part, except a
  /// `file_stream`, which takes a whole buffer at once. To a stream of another type, a copy with a
  /// limit writes pieces of at most 4 KiB, and a piece has moved when its write is complete.
  std::optional<duration> idle_limit;
  /// The loop calls this handler after each write with the numbers copied so far. The handler may
  /// be null.
  ///
  /// A copy that fails or is cancelled returns no numbers: keep the last numbers that the handler
  /// got. They include all bytes that a socket or a pipe has taken. If a write to another stream
  /// did not complete, an unknown part of its bytes was sent, which the numbers do not include.
  ///
  /// The handler may close a stream, which ends the copy with `operation_canceled`. The handler may
  /// cancel the copy, and then destroy the streams. An exception that leaves the handler ends the
  /// copy, as an error of a stream does: `co_await` throws it, and `on_done` gets the code of a
  /// `std::system_error`, or `not_enough_memory` for a `std::bad_alloc`. Any other exception leaves
  /// the loop's `run`, and `on_done` is never called.
  handler<void(Progress)> on_progress;
};

using copy_options = copy_settings<std::uint64_t>;
using copy_both_options = copy_settings<copied>;

/// Copies all bytes of a stream to another one, until the end, and returns their number.
///
///     const std::uint64_t size = co_await copy(from, to);
///
/// Between two sockets, the kernel moves the bytes by itself, through a pipe (splice(2)). The
/// sending side of `to` is not ended. If `to` has a `flush`, it is flushed after each write.
///
/// Errors: those of the streams; `timed_out` after the idle limit. If a peer resets its connection,
/// a read fails with `connection_reset`, and a write with that or `broken_pipe`.
/// Lifetime: the streams must outlive the operation.
/// Cancelling: bytes that were read and not written yet are lost. The awaiting coroutine gets an
/// error at once, with an idle limit, too, so that no error is left to leave the loop's `run`.
/// Closing a stream ends the copy with `operation_canceled`, at the latest when the copy uses that
/// stream again.
template <byte_stream From, byte_stream To>
[[nodiscard]] task<std::uint64_t> copy(From& from, To& to, copy_options options = {});
/// Copies all bytes of a stream to another one, until the end, and calls `on_done` with their
/// number.
///
/// Errors: the handler gets those of the streams, `timed_out` after the idle limit, or
/// `not_enough_memory`. The call itself throws `std::bad_alloc`.
/// Lifetime: the streams must outlive the operation.
/// Cancelling: stopping or destroying the `pending_operation`. Bytes that were read and not written
/// yet are lost.
template <byte_stream From, byte_stream To>
pending_operation copy(From& from, To& to, copy_options options,
                       handler<void(result<std::uint64_t>)> on_done);

/// Copies all bytes of a stream to two other ones, until the end, and returns their number.
///
/// This writes each piece to both targets at the same time, and reads the next piece when both have
/// taken it: the slower target sets the pace. Their sending sides are not ended.
///
/// Errors: those of the streams; `timed_out` after the idle limit.
/// Lifetime: the streams must outlive the operation.
/// Cancelling: bytes that were read and not written yet are lost.
template <byte_stream From, byte_stream To, byte_stream Also>
[[nodiscard]] task<std::uint64_t> tee(From& from, To& to, Also& also, copy_options options = {});
/// Copies all bytes of a stream to two other ones, until the end, and calls `on_done` with their
/// number.
///
/// Errors: the handler gets those of the streams, `timed_out` after the idle limit, or
/// `not_enough_memory`. The call itself throws `std::bad_alloc`.
/// Lifetime: the streams must outlive the operation.
/// Cancelling: stopping or destroying the `pending_operation`. Bytes that were read and not written
/// yet are lost.
template <byte_stream From, byte_stream To, byte_stream Also>
pending_operation tee(From& from, To& to, Also& also, copy_options options,
                      handler<void(result<std::uint64_t>)> on_done);

/// Copies between two streams in both directions, until both end, and returns the numbers of bytes.
///
/// When one stream ends, this writes its last bytes to the other stream and then ends the sending
/// side of the other stream. The other direction goes on. So a request that ends with a half-close
/// gets its answer. The idle limit counts bytes of both directions.
///
/// Errors: the first error of a stream, which cancels the other direction; `timed_out` after the
/// idle limit. Neither stream is closed.
/// Lifetime: the streams must outlive the operation.
/// Cancelling: bytes that were read and not written yet are lost. The awaiting coroutine gets an
/// error at once, with an idle limit, too, so that no error is left to leave the loop's `run`.
template <byte_stream A, byte_stream B>
[[nodiscard]] task<copied> copy_bidirectional(A& a, B& b, copy_both_options options = {});
/// Copies between two streams in both directions, until both end, and calls `on_done` with the
/// numbers of bytes.
///
/// When one stream ends, this ends the sending side of the other stream. The other direction goes
/// on.
///
/// Errors: the handler gets the first error of a stream, `timed_out` after the idle limit, or
/// `not_enough_memory`. The call itself throws `std::bad_alloc`.
/// Lifetime: the streams must outlive the operation.
/// Cancelling: stopping or destroying the `pending_operation`. Bytes that were read and not written
/// yet are lost.
template <byte_stream A, byte_stream B>
pending_operation copy_bidirectional(A& a, B& b, copy_both_options options,
                                     handler<void(result<copied>)> on_done);

// implementation

// The caller of copy, tee and copy_bidirectional keeps the streams alive, and awaits the inner
// coroutines in the frame that owns whatever they refer to.
// NOLINTBEGIN(cppcoreguidelines-avoid-reference-coroutine-parameters)
// NOLINTBEGIN(cppcoreguidelines-avoid-capturing-lambda-coroutines)

namespace detail {

/// The progress of a copy: it counts, tells the program, and moves the idle limit.
template <class Progress>
class copy_progress final : public write_observer {
public:
  copy_progress(event_loop& loop, copy_settings<Progress>&& options)
      : loop_(loop), options_(std::move(options)) {
    if (options_.buffer_size == 0) misuse("a copy was given a buffer of size zero");
  }

  /// Runs work under the idle limit.
  task<> run(task<> work) {
    if (!options_.idle_limit) return work;
    return run_limited(std::move(work));
  }

  [[nodiscard]] std::size_t buffer_size() const noexcept { return options_.buffer_size; }
  [[nodiscard]] bool limited() const noexcept { return options_.idle_limit.has_value(); }

  /// Counts bytes that were written. Returns false if the program has cancelled the copy, whose
  /// streams may then be gone.
  [[nodiscard]] bool add(std::uint64_t& to, std::size_t count) {
    to += count;
    bytes_moved();
    if (options_.on_progress) options_.on_progress(total);
    return !frame::dropped();
  }

  void bytes_moved() noexcept override {
    if (limit_ != nullptr) limit_->restart();
  }

  Progress total{};

private:
  task<> run_limited(task<> work) {
    idle_operation all(loop_, *options_.idle_limit, limit_, std::move(work));
    co_await std::move(all);
  }

  event_loop& loop_;
  copy_settings<Progress> options_;
  idle_wait* limit_ = nullptr;  // while the work runs under a limit
};

/// Writes all bytes, and calls `note` with the number of each part that was written. `note` returns
/// false if the program has cancelled the copy.
template <class Progress, byte_stream To, class Note>
task<> write_through(copy_progress<Progress>& progress, To& to, const_buffer bytes, Note note) {
  std::span<const std::byte> left(bytes.data(), bytes.size());
  while (!left.empty()) {
    expect_not_closed(to);
    std::size_t count = left.size();
    if constexpr (writable_in_parts<To>) {
      auto writing = write_some_to(to, left);
      count = co_await std::move(writing);
    } else if (progress.limited()) {
      task<> writing = write_observed(to, bytes, progress);
      co_await std::move(writing);
    } else {
      auto writing = write_out(to, bytes);
      co_await std::move(writing);
    }
    left = left.subspan(count);
    if (!note(count)) co_await yield();  // this coroutine is destroyed here
  }
}

/// Copies in one direction. `write` returns a task that writes all bytes and counts them.
template <class Progress, byte_stream From, class Write>
task<> pump(copy_progress<Progress>& progress, From& from, Write write) {
  const std::size_t size = progress.buffer_size();
  const auto buffer = std::make_unique_for_overwrite<std::byte[]>(size);
  for (;;) {
    expect_not_closed(from);
    auto reading = from.read(std::span(buffer.get(), size));
    const std::size_t n = co_await std::move(reading);
    if (n == 0) co_return;
    progress.bytes_moved();
    const const_buffer bytes = std::span<const std::byte>(buffer.get(), n);
    task<> writing = write(bytes);
    co_await std::move(writing);
  }
}

/// Copies in one direction inside the kernel, through a pipe. False if the kernel cannot do so;
/// then nothing was read.
template <class Progress, spliceable From, spliceable To>
task<bool> pump_in_kernel(copy_progress<Progress>& progress, std::uint64_t& count, From& from,
                          To& to) {
  const splice_pipe pipe;
  if (!pipe.made()) co_return false;
  // A stream that is closed during the copy no longer knows its peer.
  const std::string reads = "read from " + stream_access::socket(from).peer_words();
  const std::string writes = "write to " + stream_access::socket(to).peer_words();
  const std::uint64_t before = count;
  for (;;) {
    expect_not_closed(from);
    operation_awaitable<splice_in_call> reading(stream_access::socket(from),
                                                splice_in_call(pipe.in(), progress.buffer_size()));
    const result<std::size_t> n = co_await as_result(std::move(reading));
    if (!n && n.error() == std::errc::invalid_argument && count == before) co_return false;
    if (!n) throw_error(n.error(), reads);
    if (*n == 0) co_return true;
    progress.bytes_moved();
    for (std::size_t left = *n; left != 0;) {
      expect_not_closed(to);
      operation_awaitable<splice_out_call> writing(stream_access::socket(to),
                                                   splice_out_call(pipe.out(), left));
      const result<std::size_t> written = co_await as_result(std::move(writing));
      if (!written) throw_error(written.error(), writes);
      left -= *written;
      if (!progress.add(count, *written)) co_await yield();  // this coroutine is destroyed here
    }
  }
}

/// Copies in one direction in the best way that the streams have.
template <class Progress, byte_stream From, byte_stream To>
task<> pump_to(copy_progress<Progress>& progress, std::uint64_t& count, From& from, To& to) {
  // The other direction may have run already.
  expect_not_closed(from);
  expect_not_closed(to);
  if constexpr (spliceable<From> && spliceable<To>) {
    const bool moved = co_await pump_in_kernel(progress, count, from, to);
    if (moved) co_return;
  }
  const auto note = [&progress, &count](std::size_t n) { return progress.add(count, n); };
  const auto write = [&progress, &to, &note](const_buffer bytes) {
    return write_through(progress, to, bytes, note);
  };
  task<> pumping = pump(progress, from, write);
  co_await std::move(pumping);
}

template <class Progress, byte_stream From, byte_stream To>
task<> pump_and_end(copy_progress<Progress>& progress, std::uint64_t& count, From& from, To& to) {
  task<> pumping = pump_to(progress, count, from, to);
  co_await std::move(pumping);
  expect_not_closed(to);
  task<> ending = shut_down(to);
  co_await std::move(ending);
}

template <byte_stream A, byte_stream B>
task<> pump_both(copy_progress<copied>& progress, A& a, B& b) {
  auto both = join(pump_and_end(progress, progress.total.a_to_b, a, b),
                   pump_and_end(progress, progress.total.b_to_a, b, a));
  co_await std::move(both);
}

/// Turns a system error of `work` into a value, for a handler.
template <class T>
task<reported<T>> report(task<T> work) {
  std::error_code error;
  try {
    T value = co_await std::move(work);
    co_return value;
  } catch (const std::system_error& e) {
    error = e.code();
  }
  co_return std::unexpected(failure(error, std::string()));
}

// The streams are open when the program calls copy, tee or copy_bidirectional. The program may
// close them before these coroutines begin. A call of `loop()` aborts the program unless its stream
// is open. The coroutines are in this namespace so that the text of a `timed_out` names the user's
// `co_await`.

template <byte_stream From, byte_stream To>
task<std::uint64_t> copy_on(event_loop& loop, From& from, To& to, copy_options options) {
  copy_progress<std::uint64_t> progress(loop, std::move(options));
  task<> all = progress.run(pump_to(progress, progress.total, from, to));
  co_await std::move(all);
  co_return progress.total;
}

template <byte_stream From, byte_stream To, byte_stream Also>
task<std::uint64_t> tee_on(event_loop& loop, From& from, To& to, Also& also, copy_options options) {
  expect_not_closed(to);
  expect_not_closed(also);
  copy_progress<std::uint64_t> progress(loop, std::move(options));
  // A part counts when both targets have it.
  const auto note = [&progress](std::size_t) {
    progress.bytes_moved();
    return true;
  };
  const auto write = [&](const_buffer bytes) -> task<> {
    auto both =
        join(write_through(progress, to, bytes, note), write_through(progress, also, bytes, note));
    co_await std::move(both);
    if (!progress.add(progress.total, bytes.size())) co_await yield();  // and is destroyed here
  };
  // The lambda lives here, and its coroutines refer to it.
  const auto call = [&write](const_buffer bytes) { return write(bytes); };
  task<> all = progress.run(pump(progress, from, call));
  co_await std::move(all);
  co_return progress.total;
}

template <byte_stream A, byte_stream B>
task<copied> copy_both_on(event_loop& loop, A& a, B& b, copy_both_options options) {
  copy_progress<copied> progress(loop, std::move(options));
  task<> all = progress.run(pump_both(progress, a, b));
  co_await std::move(all);
  co_return progress.total;
}

}  // namespace detail

template <byte_stream From, byte_stream To>
task<std::uint64_t> copy(From& from, To& to, copy_options options) {
  static_cast<void>(to.loop());
  return detail::copy_on(from.loop(), from, to, std::move(options));
}

template <byte_stream From, byte_stream To>
pending_operation copy(From& from, To& to, copy_options options,
                       handler<void(result<std::uint64_t>)> on_done) {
  detail::expect_handler(on_done, "copy");
  return detail::delivery<std::uint64_t>::start(
      from.loop(), detail::report(copy(from, to, std::move(options))), std::move(on_done));
}

template <byte_stream From, byte_stream To, byte_stream Also>
task<std::uint64_t> tee(From& from, To& to, Also& also, copy_options options) {
  static_cast<void>(to.loop());
  static_cast<void>(also.loop());
  return detail::tee_on(from.loop(), from, to, also, std::move(options));
}

template <byte_stream From, byte_stream To, byte_stream Also>
pending_operation tee(From& from, To& to, Also& also, copy_options options,
                      handler<void(result<std::uint64_t>)> on_done) {
  detail::expect_handler(on_done, "tee");
  return detail::delivery<std::uint64_t>::start(
      from.loop(), detail::report(tee(from, to, also, std::move(options))), std::move(on_done));
}

template <byte_stream A, byte_stream B>
task<copied> copy_bidirectional(A& a, B& b, copy_both_options options) {
  static_cast<void>(b.loop());
  return detail::copy_both_on(a.loop(), a, b, std::move(options));
}

template <byte_stream A, byte_stream B>
pending_operation copy_bidirectional(A& a, B& b, copy_both_options options,
                                     handler<void(result<copied>)> on_done) {
  detail::expect_handler(on_done, "copy_bidirectional");
  return detail::delivery<copied>::start(
      a.loop(), detail::report(copy_bidirectional(a, b, std::move(options))), std::move(on_done));
}

// NOLINTEND(cppcoreguidelines-avoid-capturing-lambda-coroutines)
// NOLINTEND(cppcoreguidelines-avoid-reference-coroutine-parameters)

}  // namespace eddy
