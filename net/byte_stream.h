// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <system_error>
#include <type_traits>
#include <utility>

#include <eddy/future/awaitable.h>
#include <eddy/future/task.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>
#include <eddy/net/buffer.h>

namespace eddy {

namespace detail {
template <class A, class T>
concept awaits_to = awaitable<A> && std::same_as<await_result_t<A>, T>;
template <class A>
concept void_or_awaits_to_void = std::is_void_v<A> || awaits_to<A, void>;
}  // namespace detail

/// A stream of bytes in both directions, such as a `tcp_stream`.
///
/// Functions that take a `byte_stream` are templates: the compiler calls the stream directly.
/// `any_stream` holds a stream of any of these types. A stream has these members:
///
/// - `read(mutable_buffer)` is an awaitable that gives the number of bytes read, and 0 at the end.
///   A cancelled read takes no bytes.
/// - `write(const_buffer)` and `write(std::span<const const_buffer>)` are awaitables that give void
///   and send all bytes.
/// - `shutdown()` ends the sending side after the bytes that were written. It returns void or an
///   awaitable.
/// - `close()` ends both sides at once, and resumes awaiting coroutines with `operation_canceled`.
/// - `loop()` is the loop that the stream belongs to.
///
/// A stream may keep written bytes until a flush, as `buffered` does. It then also has `flush()`,
/// an awaitable that gives void. Where eddy writes to a stream for the program, it flushes such a
/// stream after each write: `copy`, `copy_bidirectional`, `tee`, `write_queue`, `any_stream`,
/// `limited`, TLS, and another `buffered` when it is flushed itself.
///
/// One read and one write may be pending at a time.
template <class S>
concept byte_stream =
    std::move_constructible<S> && requires(S& stream, mutable_buffer into, const_buffer bytes,
                                           std::span<const const_buffer> all) {
      { stream.read(into) } -> detail::awaits_to<std::size_t>;
      { stream.write(bytes) } -> detail::awaits_to<void>;
      { stream.write(all) } -> detail::awaits_to<void>;
      { stream.shutdown() } -> detail::void_or_awaits_to_void;
      { stream.close() } -> std::same_as<void>;
      { stream.loop() } -> std::same_as<event_loop&>;
    };

/// The errors of a stream's content, in addition to those of the system.
enum class stream_error : std::uint8_t {
  /// The stream ended in the middle of a line, a frame or another unit.
  cut_off = 1,
  /// A line, a frame or another unit is longer than its limit.
  too_long,
};

/// The category of error codes that hold a `stream_error`.
[[nodiscard]] const std::error_category& stream_category() noexcept;
[[nodiscard]] inline std::error_code make_error_code(stream_error e) noexcept {
  return {static_cast<int>(e), stream_category()};
}

// implementation

namespace detail {

/// Throws an error if the program has closed the stream. A use of it would abort the program.
template <class S>
void expect_not_closed(const S& stream) {
  if constexpr (requires {
                  { stream.open() } -> std::convertible_to<bool>;
                }) {
    if (!stream.open()) throw_error(std::errc::operation_canceled, "use a closed stream");
  }
}

/// A stream that may keep written bytes until a flush.
template <class S>
concept flushable = byte_stream<S> && requires(S& stream) {
  { stream.flush() } -> awaits_to<void>;
};

/// Writes bytes to a stream, and flushes it. The caller keeps the stream until this completes.
/// `Bytes` is what a `write` takes.
///
/// g++ warns of a coroutine that is a function template if `Stream` is of an unnamed namespace, but
/// not of a member.
template <flushable Stream, class Bytes>
struct flushed_write {
  // NOLINTNEXTLINE(cppcoreguidelines-avoid-reference-coroutine-parameters)
  static task<> begin(Stream& stream, Bytes bytes) {
    expect_not_closed(stream);
    auto writing = stream.write(bytes);
    co_await std::move(writing);
    expect_not_closed(stream);
    auto flushing = stream.flush();
    co_await std::move(flushing);
  }
};

/// Writes bytes to any stream, so that they leave it. The result is an awaitable that gives void.
template <byte_stream S, class Bytes>
auto write_out(S& stream, Bytes bytes) {
  if constexpr (flushable<S>) {
    return flushed_write<S, Bytes>::begin(stream, bytes);
  } else {
    return stream.write(bytes);
  }
}

/// The coroutine of `shut_down`, in a class for the same reason as `flushed_write`.
template <byte_stream S>
struct stream_end {
  // NOLINTNEXTLINE(cppcoreguidelines-avoid-reference-coroutine-parameters)
  static task<> begin(S& stream) {
    expect_not_closed(stream);
    if constexpr (std::is_void_v<decltype(stream.shutdown())>) {
      stream.shutdown();
      co_return;
    } else {
      co_await stream.shutdown();
    }
  }
};

/// Ends the sending side of any stream. The caller keeps the stream until this completes.
template <byte_stream S>
task<> shut_down(S& stream) {
  return stream_end<S>::begin(stream);
}

}  // namespace detail

}  // namespace eddy

template <>
struct std::is_error_code_enum<eddy::stream_error> : std::true_type {};
