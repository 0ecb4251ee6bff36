// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>

#include <eddy/future/task.h>
#include <eddy/net/buffer.h>
#include <eddy/net/byte_stream.h>
#include <eddy/net/detail/held_stream.h>
#include <eddy/net/detail/write_observed.h>
#include <eddy/net/detail/write_observer.h>

namespace eddy {

/// Owns a stream of any type. An `any_stream` is itself a `byte_stream`.
///
///     any_stream stream = secure ? any_stream(std::move(tls)) : any_stream(std::move(tcp));
///
/// Each operation costs a virtual call and a task. An error is thrown and caught inside even with
/// `as_result`. If the stream below has a `flush`, as `buffered` has, each write flushes it. At
/// most one read and one write may be pending at a time. Streams around streams may be of any
/// depth.
///
/// Errors: those of the stream below.
/// Lifetime: the loop must outlive the stream. The stream may be moved while operations are
/// pending.
/// Cancelling: closing or destroying the stream cancels its operations. A handler is
/// destroyed and never called; an awaiting coroutine is resumed with `operation_canceled`. A
/// cancelled read loses no bytes.
class any_stream : public detail::stream_around {
public:
  /// A stream that is not open: only assigning to it, `open`, `close` and destroying it are
  /// allowed.
  any_stream() noexcept = default;

  /// Takes over a stream.
  /// Errors: `std::bad_alloc`; then the stream is closed.
  template <class Stream>
    requires(!std::same_as<Stream, any_stream> && byte_stream<Stream>)
  explicit any_stream(Stream stream);
};

// implementation

namespace detail {

template <byte_stream Stream>
class any_held final : public held_around<Stream> {
public:
  using held_around<Stream>::held_around;

  task<std::size_t> read(mutable_buffer into) override {
    this->expect_open();
    auto reading = stream_.read(into);
    const std::size_t count = co_await std::move(reading);
    co_return count;
  }
  task<> write(const_buffer bytes, write_observer* observer) override {
    this->expect_open();
    if (observer == nullptr) {
      auto writing = write_out(stream_, bytes);
      co_await std::move(writing);
    } else {
      task<> writing = write_observed(stream_, bytes, *observer);
      co_await std::move(writing);
    }
  }
  task<> write_all(std::span<const const_buffer> buffers) override {
    this->expect_open();
    auto writing = write_out(stream_, buffers);
    co_await std::move(writing);
  }

private:
  using held_around<Stream>::stream_;
};

}  // namespace detail

template <class Stream>
  requires(!std::same_as<Stream, any_stream> && byte_stream<Stream>)
any_stream::any_stream(Stream stream)
    : stream_around(new detail::any_held<Stream>(std::move(stream))) {}

}  // namespace eddy
