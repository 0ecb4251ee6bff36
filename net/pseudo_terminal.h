// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/buffer.h>
#include <eddy/net/detail/operation.h>
#include <eddy/net/detail/pipe_calls.h>
#include <eddy/net/detail/pipe_end.h>

namespace eddy {

/// The size of a terminal, in characters.
struct window_size {
  std::uint16_t rows = 24;
  std::uint16_t columns = 80;

  friend bool operator==(const window_size&, const window_size&) noexcept = default;
};

/// The end of a pseudo-terminal at which a terminal emulator sits: its master.
///
/// `process` makes it for a child with `process_options::terminal`. The program reads what the
/// child prints and writes what the user types. Each operation has the forms that `tcp_stream` has:
/// with a handler, for `co_await`, and `try_`. At most one read and one write may be pending.
///
/// The terminal starts with the kernel's settings: it echoes what is written, and turns "\n" of the
/// child into "\r\n". To end the child's input, write the byte 4 (Ctrl-D) on a line of its own.
///
/// Errors: a handler gets a `std::error_code`. `co_await` throws a `std::system_error` whose text
/// names the operation.
/// Lifetime: the loop must outlive the object. A buffer must outlive its operation. The object may
/// be moved while operations are pending.
/// Cancelling: closing or destroying the object cancels its operations. A handler is destroyed and
/// never called; an awaiting coroutine is resumed with `operation_canceled`. A cancelled read loses
/// no bytes. A cancelled write has written an unknown part of its bytes.
class pseudo_terminal {
public:
  /// An object that is not open: only assigning to it, `open`, `close` and destroying it are
  /// allowed.
  pseudo_terminal() noexcept = default;

  /// Reads the bytes that are there, up to the size of the buffer, and returns their number.
  ///
  /// If no bytes are there, the read waits for some. It returns 0 when no process has the terminal
  /// open any more.
  /// Errors: `std::system_error`. An empty buffer aborts the program.
  /// Cancelling: no bytes are lost; the next read returns them.
  detail::operation_awaitable<detail::pipe_read_call> read(mutable_buffer into) {
    return {socket(), detail::pipe_read_call(into, end_.kind())};
  }
  /// Reads the bytes that are there, as the awaited `read` does, and calls `on_read` with their
  /// number or an error.
  void read(mutable_buffer into, handler<void(result<std::size_t>)> on_read);
  /// Reads the bytes that are there without waiting; `std::nullopt` means that there are none.
  [[nodiscard]] std::optional<result<std::size_t>> try_read(mutable_buffer into);

  /// Writes all the bytes, as if the user typed them.
  /// Errors: `std::system_error`.
  /// Lifetime: the bytes must outlive the operation.
  /// Cancelling: an unknown part of the bytes has been written.
  detail::operation_awaitable<detail::pipe_write_call> write(const_buffer bytes) {
    return {socket(), detail::pipe_write_call(bytes, end_.kind())};
  }
  /// Writes all the bytes, as the awaited `write` does, and then calls `on_written`. The bytes must
  /// outlive the operation.
  void write(const_buffer bytes, handler<void(result<void>)> on_written);
  /// Does not compile: the handler form would write a temporary's bytes after it is destroyed.
  template <detail::temporary_bytes Bytes, class Handler>
  void write(Bytes&&, Handler&&) {
    static_assert(!detail::temporary_bytes<Bytes>,
                  "a write with a handler outlives these bytes: keep them in a variable");
  }
  /// Writes as many bytes as there is space for, without waiting, and returns their number.
  /// `std::nullopt` means that there is no space.
  [[nodiscard]] std::optional<result<std::size_t>> try_write(const_buffer bytes);

  /// The size of the terminal.
  /// Errors: `std::system_error`.
  [[nodiscard]] window_size size() const;
  /// Sets the size of the terminal. The processes in its foreground get SIGWINCH if it changes.
  /// Errors: `std::system_error`.
  void set_size(const window_size& size);

  /// Closes the terminal and cancels pending operations. The child's session gets SIGHUP. Does
  /// nothing if the terminal is not open.
  void close() noexcept { end_.close(); }
  /// Whether this owns an open terminal: it was neither closed nor moved from.
  [[nodiscard]] bool open() const noexcept { return end_.open(); }

  /// The descriptor, which this object still owns.
  [[nodiscard]] int descriptor() const noexcept { return socket().descriptor(); }
  [[nodiscard]] event_loop& loop() const noexcept { return socket().loop(); }

private:
  friend struct detail::terminal_access;

  explicit pseudo_terminal(detail::pipe_end end) noexcept : end_(std::move(end)) {}
  [[nodiscard]] detail::open_socket& socket() const noexcept {
    return end_.socket("a pseudo_terminal was used that is not open: it was closed, or moved from");
  }

  detail::pipe_end end_;
};

// implementation

namespace detail {
struct terminal_access {
  static pseudo_terminal make(pipe_end end) noexcept { return pseudo_terminal(std::move(end)); }
};
}  // namespace detail

}  // namespace eddy
