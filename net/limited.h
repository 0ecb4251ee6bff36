// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include <eddy/future/sleep.h>
#include <eddy/future/task.h>
#include <eddy/loop/clock.h>
#include <eddy/net/buffer.h>
#include <eddy/net/byte_stream.h>
#include <eddy/net/detail/held_stream.h>
#include <eddy/net/detail/write_observed.h>
#include <eddy/net/detail/write_observer.h>

namespace eddy {

/// A stream whose bytes move at a limited rate. `limited` makes it.
///
/// The rate applies to each direction separately. If the stream below has a `flush`, as `buffered`
/// has, it is flushed whenever bytes have moved to it. At most one read and one write may be
/// pending at a time.
///
/// Errors: those of the stream below.
/// Lifetime: the loop must outlive the stream. The stream may be moved while operations are
/// pending. Cancelling: closing or destroying the stream cancels its operations. A handler is
/// destroyed and never called; an awaiting coroutine is resumed with `operation_canceled`. A
/// coroutine that waits because of the rate is resumed only when its next bytes are due. A
/// cancelled read loses no bytes.
class limited_stream : public detail::stream_around {
public:
  /// A stream that is not open.
  limited_stream() noexcept = default;

private:
  template <byte_stream Stream>
  friend limited_stream limited(Stream stream, std::uint64_t bytes_per_second, std::size_t burst);

  using stream_around::stream_around;
};

/// Takes over a stream and limits the rate of its bytes, in each direction, by the loop's clock.
///
/// Up to `burst` bytes move at once after a silence; then `bytes_per_second` follow. A rate or
/// burst of zero aborts the program.
///
/// Errors: `std::bad_alloc`; then the stream is closed.
template <byte_stream Stream>
[[nodiscard]] limited_stream limited(Stream stream, std::uint64_t bytes_per_second,
                                     std::size_t burst);

// implementation

namespace detail {

/// A token bucket: a token is the right to move a byte.
class rate_limit {
public:
  rate_limit(event_loop& loop, std::uint64_t bytes_per_second, std::size_t burst) noexcept;

  /// The number of bytes that may move now.
  [[nodiscard]] std::size_t allowed() noexcept;
  void take(std::size_t count) noexcept { tokens_ -= count; }
  /// The time at which there are enough tokens for a piece of `wanted` bytes.
  ///
  /// A piece is the bytes of 10 ms, but at least one byte and at most the burst. Smaller pieces
  /// would cost more time than they are worth, because a timer of the loop is exact to a
  /// millisecond.
  [[nodiscard]] time_point when(std::size_t wanted) noexcept;
  /// Whether a piece of `wanted` bytes may move now.
  [[nodiscard]] bool enough(std::size_t wanted) noexcept { return allowed() >= piece(wanted); }

private:
  [[nodiscard]] std::size_t piece(std::size_t wanted) const noexcept;

  event_loop& loop_;
  std::uint64_t rate_;
  std::size_t burst_;
  std::size_t tokens_;
  time_point counted_to_;  // the time up to which tokens were added
};

template <byte_stream Stream>
class limited_held final : public held_around<Stream> {
public:
  limited_held(Stream&& stream, std::uint64_t rate, std::size_t burst)
      : held_around<Stream>(std::move(stream)),
        in_(this->loop_, rate, burst),
        out_(this->loop_, rate, burst) {}

  task<std::size_t> read(mutable_buffer into) override {
    while (!in_.enough(into.size())) co_await sleep_until(in_.when(into.size()));
    this->expect_open();
    const std::size_t most = std::min(into.size(), in_.allowed());
    auto reading = stream_.read(std::span(into.data(), most));
    const std::size_t count = co_await std::move(reading);
    in_.take(count);
    co_return count;
  }
  task<> write(const_buffer bytes, write_observer* observer) override {
    std::span<const std::byte> left(bytes.data(), bytes.size());
    while (!left.empty()) {
      while (!out_.enough(left.size())) co_await sleep_until(out_.when(left.size()));
      this->expect_open();
      const std::size_t count = std::min(left.size(), out_.allowed());
      out_.take(count);
      const const_buffer piece = left.first(count);
      if (observer == nullptr) {
        auto writing = write_out(stream_, piece);
        co_await std::move(writing);
      } else {
        task<> writing = write_observed(stream_, piece, *observer);
        co_await std::move(writing);
      }
      left = left.subspan(count);
    }
  }
  task<> write_all(std::span<const const_buffer> buffers) override {
    for (const const_buffer& one : buffers) {
      task<> writing = write(one, nullptr);
      co_await std::move(writing);
    }
  }

private:
  using held_around<Stream>::stream_;

  rate_limit in_;
  rate_limit out_;
};

}  // namespace detail

template <byte_stream Stream>
limited_stream limited(Stream stream, std::uint64_t bytes_per_second, std::size_t burst) {
  return limited_stream(
      new detail::limited_held<Stream>(std::move(stream), bytes_per_second, burst));
}

}  // namespace eddy
