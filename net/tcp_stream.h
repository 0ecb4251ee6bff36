// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <system_error>
#include <utility>

#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/address.h>
#include <eddy/net/buffer.h>
#include <eddy/net/detail/open_socket.h>
#include <eddy/net/detail/operation.h>
#include <eddy/net/detail/stream_calls.h>

namespace eddy {

namespace detail {
struct stream_access;
}

/// A connection: bytes in both directions. `connect` and `tcp_listener` make it.
///
/// Each operation has two forms. With a handler, it calls that once, later;
/// without, it is to be awaited. One may read and one may write at a time.
///
///     const std::size_t n = co_await stream.read(buffer);
///     stream.read(buffer, [](result<std::size_t> n) { ... });
///
/// Errors: a handler gets the `std::error_code`, `co_await` throws it as
/// `std::system_error` that says what was done to whom. No write raises SIGPIPE.
/// Lifetime: the loop outlives it. It may be moved while an operation waits. A
/// buffer outlives its operation. Closing or destroying the stream drops a
/// handler; a coroutine that awaits goes on with `operation_canceled`.
/// Cancelling: dropping what awaits ends the operation. Of a read nothing is
/// lost: the next one gets it. Of a write an unknown part has been sent.
///
/// A program that has the kernel report time stamps or the ends of zero-copy
/// sends reads them from the socket's error queue, in the handler of a
/// `readiness` of its own on `descriptor()`. While the queue holds something,
/// the kernel reports the socket as ready without end. A read or a write that
/// waits therefore drops what is still in the queue after that handler had its
/// turn, unless that readiness waits to read again by then. Errors of the
/// connection are told as ever.
///
/// The kernel tells an error of the connection once: if a write ends with
/// `connection_reset`, the next read gives the end.
class tcp_stream {
public:
  /// Not open.
  tcp_stream() noexcept = default;

  /// Takes over a connected socket, and closes it also if this throws.
  /// Errors: `std::system_error`; `std::bad_alloc`.
  tcp_stream(event_loop& loop, int descriptor);

  tcp_stream(tcp_stream&&) noexcept = default;
  tcp_stream& operator=(tcp_stream&&) noexcept = default;
  ~tcp_stream() = default;

  /// Reads what is there, at least a byte; 0 is the end of what the other side
  /// sends. Waits if nothing is there. After a read that did not fill its buffer, the next
  /// read waits until the loop has looked at the descriptors again, even if bytes have come
  /// by then: under a `timeout` of no time use `try_read`. An empty buffer stops the
  /// program, because its 0 bytes would look like the end.
  detail::to_await<detail::read_call> read(mutable_buffer into) {
    return {socket(), detail::read_call(into)};
  }
  void read(mutable_buffer into, handler<void(result<std::size_t>)> on_read);
  /// Empty if nothing is there.
  [[nodiscard]] std::optional<result<std::size_t>> try_read(mutable_buffer into);

  /// Waits until there is something to read, or the end, without a buffer that
  /// would lie idle meanwhile: for a connection that is mostly silent.
  detail::to_await<detail::wait_call<readiness::direction::read>> wait_readable() {
    return {socket(), {}};
  }
  void wait_readable(handler<void(result<void>)> on_readable);

  /// Writes all of it. A handler or a coroutine of the loop's sends what the kernel has room
  /// for within the call or the `co_await`, unless it has had its share of the turn. A write
  /// that begins outside of the loop's turns is sent in the next one.
  detail::to_await<detail::write_call> write(const_buffer bytes) {
    return {socket(), detail::write_call(bytes)};
  }
  void write(const_buffer bytes, handler<void(result<void>)> on_written);
  /// Refuses bytes that would be destroyed before they are written.
  template <detail::temporary_bytes Bytes, class Handler>
  void write(Bytes&&, Handler&&) {
    static_assert(!detail::temporary_bytes<Bytes>,
                  "a write with a handler outlives these bytes: keep them in a variable");
  }
  /// Writes what fits into the kernel's buffer; empty if nothing does.
  [[nodiscard]] std::optional<result<std::size_t>> try_write(const_buffer bytes);

  /// Writes all of several buffers, in as few system calls as may be. Both the
  /// list and the bytes outlive the operation.
  detail::to_await<detail::write_call> write(std::span<const const_buffer> buffers) {
    return {socket(), detail::write_call(buffers)};
  }
  void write(std::span<const const_buffer> buffers, handler<void(result<void>)> on_written);

  /// Waits until a write would not wait.
  detail::to_await<detail::wait_call<readiness::direction::write>> wait_writable() {
    return {socket(), {}};
  }
  void wait_writable(handler<void(result<void>)> on_writable);

  /// Ends the read, or the write, that waits, as `close` does.
  void stop_reading() noexcept { socket().stop(readiness::direction::read); }
  void stop_writing() noexcept { socket().stop(readiness::direction::write); }

  /// Ends the sending side: the other side reads the end after all that was
  /// written. Reading goes on.
  ///
  /// A write that waits is finished first, and the end follows it however the
  /// write ends, also if it fails or is cancelled. A write that starts after
  /// this call fails at once with `broken_pipe`, though an earlier one waits.
  /// If the connection has failed, the next operation tells.
  void shutdown() noexcept;

  /// Ends the receiving side, so that a reader can stop cleanly: reads give
  /// what had come by this call, and from then on the end, whatever the other
  /// side still sends. A read that waits ends. Writing goes on. Bytes behind urgent data
  /// (MSG_OOB) that was not read yet count as not come.
  void shutdown_read() noexcept;

  void close() noexcept { socket_.close(); }
  [[nodiscard]] bool open() const noexcept { return socket_.open(); }

  [[nodiscard]] const address& peer_address() const noexcept { return socket().name(); }
  /// Errors: `std::system_error`.
  [[nodiscard]] address local_address() const;

  /// What has gone wrong with the connection since the last look; no operation
  /// has reported it yet, and none will.
  [[nodiscard]] std::error_code take_error() noexcept;

  // Options. Errors: `std::system_error`.

  /// Sends small pieces at once, instead of waiting for more.
  void set_no_delay(bool on);
  [[nodiscard]] bool no_delay() const;

  /// When a silent connection is probed, and given up: after `idle`, then each
  /// `interval`, `probes` times. Whole seconds, of which the kernel knows 32767.
  struct keep_alive_times {
    std::chrono::seconds idle{7200};
    std::chrono::seconds interval{75};
    int probes = 9;
  };
  void set_keep_alive(const keep_alive_times& times);
  void set_keep_alive(bool on);
  [[nodiscard]] bool keep_alive() const;

  /// The kernel's buffers, in bytes; it uses twice that and tells so.
  void set_send_buffer(std::size_t size);
  void set_receive_buffer(std::size_t size);
  [[nodiscard]] std::size_t send_buffer() const;
  [[nodiscard]] std::size_t receive_buffer() const;

  /// What closing does with bytes that were not sent yet. Nothing: they are sent
  /// in the background, unless bytes have come that nobody has read, after `shutdown_read`
  /// too: then the kernel resets the connection, and bytes that were not sent are lost. A
  /// server whose clients may still send calls `shutdown`, and reads to the end. A time: it
  /// may block the thread for so long; zero throws them away and resets the connection.
  void set_linger(std::optional<std::chrono::seconds> time);

  [[nodiscard]] int descriptor() const noexcept { return socket().descriptor(); }
  [[nodiscard]] event_loop& loop() const noexcept { return open_socket().loop(); }

  /// How many streams are open in this process, on all loops. Threads: any.
  [[nodiscard]] static std::size_t count() noexcept { return detail::open_streams(); }

private:
  friend struct detail::stream_access;

  explicit tcp_stream(detail::socket_owner socket) noexcept : socket_(std::move(socket)) {}

  [[nodiscard]] detail::open_socket& socket() const noexcept {
    detail::open_socket& own = open_socket();
    own.loop().check_thread();
    return own;
  }
  [[nodiscard]] detail::open_socket& open_socket() const noexcept {
    if (socket_.get() == nullptr) not_open();
    return *socket_.get();
  }
  [[noreturn]] static void not_open() noexcept;

  detail::socket_owner socket_;
};

}  // namespace eddy
