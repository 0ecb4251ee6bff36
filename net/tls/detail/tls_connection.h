// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// The members of every `tls_stream`, which do not depend on the type of the stream below.

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include <eddy/future/task.h>
#include <eddy/loop/detail/counted.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/buffer.h>
#include <eddy/net/detail/write_observer.h>
#include <eddy/net/tls/detail/tls_state.h>
#include <eddy/net/tls/tls_certificate.h>
#include <eddy/net/tls/tls_context.h>

namespace eddy::detail {

/// The common base of all `tls_stream`s. A function that takes a `tls_connection&` works on all.
///
/// At most one read and one write may be pending at a time; a second one aborts the program.
///
/// Errors: a handler gets a `std::error_code`. `co_await` throws a `std::system_error` whose text
/// names the operation and the peer. The code is a `tls_error`, or an error of the stream below.
/// Lifetime: the loop must outlive the stream. A buffer must outlive its operation. The stream may
/// be moved while operations are pending.
/// Cancelling: closing or destroying the stream cancels its operations. A handler is destroyed and
/// never called; an awaiting coroutine is resumed with `operation_canceled`. A cancelled read loses
/// no bytes. After a cancelled or failed write, later writes and `shutdown` fail with
/// `operation_canceled`, so that the peer never takes other bytes for the rest of that write.
class tls_connection {
public:
  tls_connection(tls_connection&& other) noexcept : state_(std::move(other.state_)) {}
  /// Closes this stream and takes over the other one.
  tls_connection& operator=(tls_connection&& other) noexcept {
    tls_connection before(std::move(other));
    std::swap(state_, before.state_);
    return *this;
  }

  /// Reads the bytes that are there, up to the size of the buffer, and returns their number.
  ///
  /// If no bytes are there, the read waits for some. The number is at most 16 KiB. It is 0 when the
  /// peer has ended its sending side with a close_notify.
  ///
  /// Errors: `tls_error::truncated` if the stream below ends without a close_notify; then bytes may
  /// be missing. Other `tls_error`s, and errors of the stream below. An empty buffer aborts the
  /// program.
  /// Cancelling: no bytes are lost; the next read returns them.
  tls_read read(mutable_buffer into);
  /// Reads the bytes that are there, as the awaited `read` does, and calls `on_read` with their
  /// number or an error.
  void read(mutable_buffer into, handler<void(result<std::size_t>)> on_read);

  /// Writes all the bytes.
  ///
  /// Errors: those of the stream below; `broken_pipe` after `shutdown`.
  /// Lifetime: the bytes must outlive the operation.
  /// Cancelling: an unknown part of the bytes has been sent, and later writes fail.
  [[nodiscard]] task<> write(const_buffer bytes) { return state().send(share(), bytes, nullptr); }
  /// For eddy: an awaited write that tells of each part that has moved.
  [[nodiscard]] task<> write(const_buffer bytes, write_observer& observer) {
    return state().send(share(), bytes, &observer);
  }
  /// Writes all the bytes, as the awaited `write` does, and then calls `on_written`. The bytes must
  /// outlive the operation.
  void write(const_buffer bytes, handler<void(result<void>)> on_written);
  /// Does not compile: the handler form would send a temporary's bytes after it is destroyed.
  template <temporary_bytes Bytes, class Handler>
  void write(Bytes&&, Handler&&) {
    static_assert(!temporary_bytes<Bytes>,
                  "a write with a handler outlives these bytes: keep them in a variable");
  }
  /// Writes all the bytes of several buffers. Small buffers share a record of TLS.
  ///
  /// Errors: those of the stream below; `broken_pipe` after `shutdown`.
  /// Lifetime: the list of buffers and the bytes must outlive the operation.
  /// Cancelling: an unknown part of the bytes has been sent, and later writes fail.
  [[nodiscard]] task<> write(std::span<const const_buffer> buffers) {
    return state().send(share(), buffers, nullptr);
  }
  /// Writes all the bytes of several buffers and then calls `on_written`. The list of buffers and
  /// the bytes must outlive the operation.
  void write(std::span<const const_buffer> buffers, handler<void(result<void>)> on_written);

  /// Ends the sending side: sends a close_notify, and then ends the sending side of the stream
  /// below.
  ///
  /// A pending write completes first. A write that starts after this fails with `broken_pipe`.
  /// Reading is not affected. A stream that is closed without this looks cut off to the peer.
  ///
  /// A second shutdown waits for the first.
  ///
  /// Errors: those of the stream below; `operation_canceled` after a cancelled write.
  /// Cancelling: the close_notify may not have been sent. Call `shutdown` again: it goes on if the
  /// connection can, and fails with `operation_canceled` if an unknown part was sent.
  [[nodiscard]] task<> shutdown() { return state().send_end(share()); }
  /// Ends the sending side, as the awaited `shutdown` does, and then calls `on_ended`.
  void shutdown(handler<void(result<void>)> on_ended);

  /// Cancels the pending read that has a handler, if there is one. No bytes are lost.
  void stop_reading() noexcept { state().reader.stop(); }
  /// Cancels the pending write that has a handler, if there is one. Later writes fail.
  void stop_writing() noexcept { state().writer.stop(); }

  /// Closes the stream and cancels pending operations. Does nothing if the stream is not open.
  ///
  /// This sends nothing. To end the connection in order, call `shutdown`, read to the end, and then
  /// close.
  void close() noexcept;
  /// Whether this was neither closed nor moved from.
  [[nodiscard]] bool open() const noexcept { return static_cast<bool>(state_); }
  [[nodiscard]] event_loop& loop() const noexcept { return state().loop(); }

  // The results of the handshake.

  [[nodiscard]] tls_version version() const noexcept { return state().version(); }
  /// The name of the cipher: "TLS_AES_256_GCM_SHA384".
  [[nodiscard]] std::string_view cipher() const noexcept { return state().cipher(); }
  /// The application protocol; empty if none was negotiated.
  [[nodiscard]] std::string_view alpn() const noexcept { return state().alpn(); }
  /// The name of the server for which the client has asked; empty if it asked for none.
  ///
  /// On a server, these are the bytes that the client has sent. They need not be a name: any byte
  /// but zero may be among them, and nothing is escaped.
  [[nodiscard]] std::string_view server_name() const noexcept { return state().server_name(); }
  /// Whether a session of an earlier connection was resumed.
  [[nodiscard]] bool resumed() const noexcept { return state().resumed(); }
  /// The certificate of the peer, if it sent one.
  /// Errors: `std::bad_alloc`.
  [[nodiscard]] std::optional<tls_certificate> peer_certificate() const {
    return state().peer_certificate();
  }

protected:
  tls_connection() noexcept = default;
  explicit tls_connection(tls_share state) noexcept : state_(std::move(state)) {}
  ~tls_connection() { close(); }

  [[nodiscard]] tls_state& state() const noexcept {
    if (!state_) not_open();
    state_->check_thread();
    return *state_;
  }

private:
  [[noreturn, gnu::cold]] static void not_open() noexcept;
  [[nodiscard]] tls_share share() const noexcept { return state().share(); }
  void start_write(task<> work, handler<void(result<void>)> on_done);

  tls_share state_;
};

}  // namespace eddy::detail
