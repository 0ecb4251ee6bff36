// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <utility>

#include <eddy/net/detail/pipe_base.h>

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
/// `<eddy/net/detail/pipe_base.h>` documents the operations. A read returns 0 when no process has
/// the terminal open any more.
///
/// The terminal starts with the kernel's settings: it echoes what is written, and turns "\n" of the
/// child into "\r\n". To end the child's input, write the byte 4 (Ctrl-D) on a line of its own.
///
/// Errors: a handler gets a `std::error_code`. `co_await` throws a `std::system_error` whose text
/// names the operation.
/// Lifetime: the loop must outlive the object. A buffer must outlive its operation. The object may
/// be moved while operations are pending.
/// Cancelling: closing or destroying the object cancels its operations, and the child's session
/// gets SIGHUP. A handler is destroyed and never called; an awaiting coroutine is resumed with
/// `operation_canceled`. A cancelled read loses no bytes. A cancelled write has written an unknown
/// part of its bytes.
class pseudo_terminal : public detail::pipe_base {
public:
  /// An object that is not open: only assigning to it, `open`, `close` and destroying it are
  /// allowed.
  pseudo_terminal() noexcept : pipe_base(type) {}

  using pipe_base::read;
  using pipe_base::stop_reading;
  using pipe_base::stop_writing;
  using pipe_base::try_read;
  using pipe_base::try_write;
  using pipe_base::wait_readable;
  using pipe_base::wait_writable;
  using pipe_base::write;

  /// The size of the terminal.
  /// Errors: `std::system_error`.
  [[nodiscard]] window_size size() const;
  /// Sets the size of the terminal. The processes in its foreground get SIGWINCH if it changes.
  /// Errors: `std::system_error`.
  void set_size(const window_size& size);

private:
  friend struct detail::pipe_access;

  explicit pseudo_terminal(detail::pipe_end end) noexcept : pipe_base(type, std::move(end)) {}

  static constexpr const char* type = "pseudo_terminal";
};

}  // namespace eddy
