// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

#include <eddy/future/task.h>
#include <eddy/net/buffer.h>
#include <eddy/net/byte_stream.h>
#include <eddy/net/detail/operation.h>
#include <eddy/net/detail/pipe_base.h>
#include <eddy/net/detail/splice_calls.h>
#include <eddy/net/detail/stream_access.h>
#include <eddy/net/detail/stream_calls.h>
#include <eddy/net/detail/write_observer.h>

namespace eddy {
class file_stream;
class pipe_stream;
}  // namespace eddy

namespace eddy::detail {

/// A stream whose write tells an observer of each part that has moved: a stream around another one,
/// and a stream in memory.
template <class Stream>
concept observed_stream = requires(Stream& to, const_buffer bytes, write_observer& observer) {
  { to.write(bytes, observer) } -> awaits_to<void>;
};

/// A stream into the kernel, which takes a write in parts.
template <class Stream>
concept writable_in_parts = spliceable<Stream> || std::same_as<Stream, pipe_stream>;

/// The most bytes of one write to a stream that tells nothing of a write before it is complete.
///
/// A smaller size would cost more calls, and a peer that takes fewer bytes than this within an idle
/// limit is taken for dead. A file is written whole, because its disk takes all bytes at once.
template <class To>
inline constexpr std::size_t largest_piece = std::same_as<To, file_stream> ? SIZE_MAX : 4096;

/// Writes as many bytes as there is space for, and gives their number. The number is at most 256
/// KiB, because a peer that reads fast could keep one call in the kernel for long.
template <writable_in_parts To>
auto write_some_to(To& to, std::span<const std::byte> bytes) {
  constexpr std::size_t most = std::size_t{256} * 1024;
  const const_buffer some = bytes.first(std::min(bytes.size(), most));
  if constexpr (spliceable<To>) {
    return operation_awaitable<write_some_call>(stream_access::socket(to), write_some_call(some));
  } else {
    expect_not_closed(to.writer());
    return pipe_access::write_some(to.writer(), some);
  }
}

template <class To>
task<> write_observed(To& to, const_buffer bytes, write_observer& observer);

/// The coroutine of `write_observed`, in a class for the same reason as `flushed_write`.
template <class To>
struct observed_write {
  // NOLINTBEGIN(cppcoreguidelines-avoid-reference-coroutine-parameters)
  static task<> begin(To& to, const_buffer bytes, write_observer& observer) {
    expect_not_closed(to);
    if constexpr (observed_stream<To>) {
      auto writing = to.write(bytes, observer);
      co_await std::move(writing);
    } else if constexpr (flushable<To> && requires { to.stream(); }) {
      // The stream tells nothing of the bytes that leave its buffer. So they go past it.
      auto flushing = to.flush();
      co_await std::move(flushing);
      expect_not_closed(to);
      task<> writing = write_observed(to.stream(), bytes, observer);
      co_await std::move(writing);
    } else {
      std::span<const std::byte> left(bytes.data(), bytes.size());
      while (!left.empty()) {
        expect_not_closed(to);
        std::size_t count = 0;
        if constexpr (writable_in_parts<To>) {
          auto writing = write_some_to(to, left);
          count = co_await std::move(writing);
        } else {
          count = std::min(left.size(), largest_piece<To>);
          auto writing = write_out(to, const_buffer(left.first(count)));
          co_await std::move(writing);
        }
        observer.bytes_moved();
        left = left.subspan(count);
      }
    }
  }
  // NOLINTEND(cppcoreguidelines-avoid-reference-coroutine-parameters)
};

/// Writes all bytes, and tells `observer` of each part that has moved. The caller keeps the stream
/// and the bytes until this completes.
template <class To>
task<> write_observed(To& to, const_buffer bytes, write_observer& observer) {
  return observed_write<To>::begin(to, bytes, observer);
}

}  // namespace eddy::detail
