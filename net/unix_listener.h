// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/detail/accept_call.h>
#include <eddy/net/detail/operation.h>
#include <eddy/net/socket_options.h>
#include <eddy/net/unix_address.h>
#include <eddy/net/unix_seqpacket.h>
#include <eddy/net/unix_stream.h>

namespace eddy {

namespace detail {
class unix_listening_socket;
}

/// The choices of a `unix_listener` or a `unix_seqpacket_listener` that binds its address.
struct unix_listener_options {
  /// The number of connections that may wait to be accepted. The system's limit,
  /// /proc/sys/net/core/somaxconn, applies too. If the queue is full, a `connect` waits.
  int backlog = 4096;
  /// Says how the listener treats connections while too few descriptors are free.
  at_limit connections_at_limit = at_limit::hold;
  /// Replaces a socket file that was left behind, if no process has its socket open.
  ///
  /// Another file, a symbolic link, or a socket in use is never replaced. The stale file is first
  /// renamed to `.stale.PID.N` in the same directory, so the directory's path may have up to 90
  /// bytes.
  bool replace_stale = false;
  /// Removes the socket file when the listener is closed, if it is still the file that this
  /// listener made (device and inode). A process that was forked later does not remove it.
  bool remove_file = true;
  /// The permissions of the socket file, such as 0660. A process that may write to the file may
  /// connect.
  ///
  /// They are set before anybody can connect, and the umask does not apply. Without them, the file
  /// has the permissions 0777 without the umask's.
  std::optional<unsigned> permissions = std::nullopt;
};

/// Listens at a Unix address and accepts connections. Use `unix_listener` or
/// `unix_seqpacket_listener`.
///
/// At most one accept may be pending at a time; a second one aborts the program.
///
/// Shortage: the listener pauses as a `tcp_listener` does when few descriptors or no memory are
/// left: connections stay in the kernel's queue until a stream of this loop is closed, or for 50
/// ms.
///
/// Shedding: with `at_limit::shed`, the listener does not pause for descriptors. It accepts the
/// connections that are queued and closes them at once, while fewer descriptors are free than a
/// `tcp_listener` keeps free. `shed_count` counts these connections. For the case that no
/// descriptor is free at all, it has one of its own in reserve, with which it accepts. If the
/// system lacks memory, it pauses.
///
/// Errors: `not_enough_memory` if the program has no memory for a connection; the next accept
/// returns that connection.
/// Lifetime: the loop must outlive the listener. The listener may be moved while an accept is
/// pending.
/// Cancelling: closing or destroying the listener cancels its accept. A handler is destroyed and
/// never called; an awaiting coroutine is resumed with `operation_canceled`. Destroying an awaiting
/// coroutine cancels its accept. A cancelled accept loses no connection: the next accept returns
/// it.
template <class Stream>
class basic_unix_listener {
public:
  using options = unix_listener_options;

  /// A listener that is not open: only assigning to it, `open`, `close` and destroying it are
  /// allowed.
  basic_unix_listener() noexcept;

  /// Listens at `local`. An unnamed address lets the system choose an abstract name; see
  /// `local_address`.
  /// Errors: `std::system_error` whose text names the address; `address_in_use` if the file exists;
  /// `std::bad_alloc`.
  basic_unix_listener(event_loop& loop, const unix_address& local)
      : basic_unix_listener(loop, local, options()) {}
  /// Listens at `local` with options. An unnamed address lets the system choose an abstract name.
  /// Errors: `std::system_error` whose text names the address; `address_in_use` if the file exists
  /// and was not replaced; `std::bad_alloc`.
  basic_unix_listener(event_loop& loop, const unix_address& local, const options& how);

  /// Takes over a socket that listens already. `descriptor` is closed even if this throws.
  ///
  /// The descriptor becomes non-blocking and close-on-exec. The file is not removed at the end.
  /// Errors: `std::system_error` if `descriptor` is no Unix socket of the right type, or does not
  /// listen (`invalid_argument`); `std::bad_alloc`. The text says what the descriptor is.
  basic_unix_listener(event_loop& loop, int descriptor);

  basic_unix_listener(basic_unix_listener&&) noexcept;
  /// Closes this listener and takes over the other one.
  basic_unix_listener& operator=(basic_unix_listener&&) noexcept;
  /// Closes the listener.
  ~basic_unix_listener();

  /// Waits for the next connection, and returns a stream on the listener's loop.
  ///
  /// Errors: `std::system_error`. A shortage of descriptors is no error: the listener pauses.
  /// Cancelling: no connection is lost; the next accept returns it.
  detail::operation_awaitable<detail::basic_accept_call<Stream>> accept();
  /// Waits for the next connection, and calls `on_accepted` with a stream or an error. A shortage
  /// of descriptors is no error: the listener pauses.
  void accept(handler<void(result<Stream>)> on_accepted);
  /// Accepts a connection without waiting; `std::nullopt` means that none is queued.
  ///
  /// A `try_accept` never pauses because of a shortage. It also takes the last descriptors, and
  /// returns errors such as `too_many_files_open`.
  [[nodiscard]] std::optional<result<Stream>> try_accept();

  /// Sets what the listener does with connections at the limit of descriptors, from the next
  /// connection on. For a listener that took over its socket.
  /// Errors: `std::system_error` if there is no descriptor for the reserve.
  void set_at_limit(at_limit what);
  /// The number of connections that this listener has accepted and closed at once: see
  /// `at_limit::shed`.
  [[nodiscard]] std::uint64_t shed_count() const noexcept;

  /// Cancels the pending accept, if there is one.
  ///
  /// A handler is destroyed and never called; an awaiting coroutine is resumed with
  /// `operation_canceled`. No connection is lost.
  void stop_accepting() noexcept;

  /// Removes the socket file, stops listening and cancels the pending accept. Does nothing if the
  /// listener is not open.
  ///
  /// The kernel resets connections that were not accepted. A handler is destroyed and never called;
  /// an awaiting coroutine is resumed with `operation_canceled`.
  void close() noexcept;
  /// Whether this listener owns an open socket: it was neither closed nor moved from.
  [[nodiscard]] bool open() const noexcept;

  /// Leaves the socket file where it is when the listener is closed: another process goes on
  /// listening with a copy of the descriptor, for example.
  void keep_file() noexcept;

  /// The address at which this listens, with the abstract name that the system chose.
  /// Errors: `std::system_error`.
  [[nodiscard]] unix_address local_address() const;

  /// The descriptor of the socket, which this listener still owns.
  [[nodiscard]] int descriptor() const noexcept;
  [[nodiscard]] event_loop& loop() const noexcept;

private:
  [[nodiscard]] detail::unix_listening_socket& listening() const noexcept;
  [[nodiscard]] detail::unix_listening_socket& checked() const noexcept;

  std::unique_ptr<detail::unix_listening_socket> listening_;  // null if this is not open
};

/// Accepts streams of bytes.
using unix_listener = basic_unix_listener<unix_stream>;
/// Accepts connections that keep the boundaries of messages.
using unix_seqpacket_listener = basic_unix_listener<unix_seqpacket>;

extern template class basic_unix_listener<unix_stream>;
extern template class basic_unix_listener<unix_seqpacket>;

}  // namespace eddy
