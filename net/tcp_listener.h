// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/address.h>
#include <eddy/net/detail/accept_call.h>
#include <eddy/net/detail/operation.h>
#include <eddy/net/socket_options.h>
#include <eddy/net/tcp_stream.h>

namespace eddy {

namespace detail {
class listening_socket;
}

/// Listens at an address and accepts TCP connections.
///
/// At most one accept may be pending at a time; a second one aborts the program.
///
/// Failed connections: a connection that failed before it was accepted is skipped. After 32 failed
/// connections in a row the listener pauses for 50 ms, because some errors, such as those from a
/// firewall, repeat.
///
/// Shortage: if the system has no free descriptor or no memory, the listener pauses. Connections
/// stay in the kernel's queue. The listener goes on when a stream of this loop is closed, or after
/// 50 ms. It also pauses when few descriptors are left, so that the program can still open files,
/// resolve names and start processes. It keeps a sixteenth of RLIMIT_NOFILE free, but at least 8
/// and at most 16. A process with three pipes needs 7 for its start. It compares the lowest free
/// descriptor number with RLIMIT_NOFILE, as if all higher numbers were free. A changed
/// RLIMIT_NOFILE takes effect when no connection is queued, or after 16 connections. If no stream
/// is open in the process, the listener accepts one connection even if it needs one of these
/// descriptors.
///
/// Shedding: with `at_limit::shed`, the listener does not pause for descriptors. It accepts the
/// connections that are queued and closes them at once, while fewer descriptors are free than it
/// keeps free. `shed_count` counts these connections. For the case that no descriptor is free at
/// all, it has one of its own in reserve, with which it accepts. If the system lacks memory, it
/// pauses.
///
/// Both pauses are timers on the loop's clock. With a `manual_clock` that stands still, a pausing
/// listener does not keep its loop running. With a `manual_clock` that jumps, time jumps by 50 ms
/// again and again until a descriptor is free.
///
/// Errors: `not_enough_memory` if the program has no memory for a connection; the next accept
/// returns that connection.
/// Lifetime: the loop must outlive the listener. The listener may be moved while an accept is
/// pending.
/// Cancelling: closing or destroying the listener cancels its accept. A handler is destroyed and
/// never called; an awaiting coroutine is resumed with `operation_canceled`. Destroying an awaiting
/// coroutine cancels its accept. A cancelled accept loses no connection: the next accept returns
/// it.
class tcp_listener : public detail::with_options<tcp_listener> {
public:
  /// The members that apply: `backlog`, `connections_at_limit`, `reuse_address` (on by default),
  /// `reuse_port`, `ipv6_only`, `device`, `mark`, `transparent`, `freebind`, the buffers,
  /// `fast_open` and `user_timeout`.
  using options = socket_options;

  /// A listener that is not open: only assigning to it, `open`, `close` and destroying it are
  /// allowed.
  tcp_listener() noexcept;

  /// Listens at `local`. Port 0 lets the system choose a free port; see `local_address`.
  /// Errors: `std::system_error` whose text names the address; `std::bad_alloc`.
  tcp_listener(event_loop& loop, const address& local) : tcp_listener(loop, local, options()) {}
  /// Listens at `local` with options. Port 0 lets the system choose a free port.
  /// Errors: `std::system_error` whose text names the address, and the option if one was refused;
  /// `std::bad_alloc`.
  tcp_listener(event_loop& loop, const address& local, const options& how);

  /// Takes over a socket that listens already. If the constructor throws, it closes `descriptor`.
  ///
  /// The descriptor becomes non-blocking and close-on-exec.
  /// Errors: `std::system_error`: `not_a_socket`, `wrong_protocol_type`,
  /// `address_family_not_supported` for a Unix socket, or `invalid_argument` if it does not listen;
  /// `std::bad_alloc`. The text says what the descriptor is.
  tcp_listener(event_loop& loop, int descriptor);

  tcp_listener(tcp_listener&&) noexcept;
  /// Closes this listener and takes over the other one.
  tcp_listener& operator=(tcp_listener&&) noexcept;
  /// Closes the listener.
  ~tcp_listener();

  /// Waits for the next connection, and returns a stream on the listener's loop.
  ///
  /// Errors: `std::system_error`. A shortage of descriptors is no error: the listener pauses.
  /// Cancelling: no connection is lost; the next accept returns it.
  detail::operation_awaitable<detail::accept_call> accept();
  /// Waits for the next connection, and calls `on_accepted` with a stream or an error. A shortage
  /// of descriptors is no error: the listener pauses.
  void accept(handler<void(result<tcp_stream>)> on_accepted);
  /// Accepts a connection without waiting; `std::nullopt` means that none is queued.
  ///
  /// A `try_accept` never pauses because of a shortage. It also takes the last descriptors, and
  /// returns errors such as `too_many_files_open`.
  [[nodiscard]] std::optional<result<tcp_stream>> try_accept();

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

  /// Stops listening and cancels the pending accept. Does nothing if the listener is not open.
  ///
  /// The kernel resets connections that were not accepted. A handler is destroyed and never called;
  /// an awaiting coroutine is resumed with `operation_canceled`.
  void close() noexcept;
  /// Whether this listener owns an open socket: it was neither closed nor moved from.
  [[nodiscard]] bool open() const noexcept;

  /// The address at which this listens, with the port that the system chose.
  [[nodiscard]] const address& local_address() const noexcept;

  /// The descriptor of the socket, which this listener still owns.
  [[nodiscard]] int descriptor() const noexcept;
  [[nodiscard]] event_loop& loop() const noexcept;

  /// The number of listeners that are open in this process, on all loops.
  /// Threads: any.
  [[nodiscard]] static std::size_t count() noexcept;

private:
  [[nodiscard]] detail::listening_socket& listening() const noexcept;
  [[nodiscard]] detail::listening_socket& checked() const noexcept;

  std::unique_ptr<detail::listening_socket> listening_;  // null if this is not open
};

}  // namespace eddy
