// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <optional>
#include <utility>

#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/net/address.h>
#include <eddy/net/detail/accept_call.h>
#include <eddy/net/detail/open_socket.h>
#include <eddy/net/detail/operation.h>
#include <eddy/net/tcp_stream.h>

namespace eddy {

/// Takes the connections that others make to an address.
///
/// A connection that failed before it was accepted is passed over. After 32 of
/// them in a row the listener pauses for 50 ms, because some errors, such as that
/// of a firewall, come again and again.
///
/// When the system has no descriptor or no memory free, the listener holds: the
/// connections stay in the kernel's queue, and accepting goes on as soon as a
/// stream of this loop is closed, or at most 50 ms after anything else has freed a
/// descriptor. It also holds when few descriptors are left, so that the program can
/// still open files, resolve names and start programs: a sixteenth of
/// RLIMIT_NOFILE, but at least 4 and at most 16. The listener goes by the number of
/// the next descriptor, and counts descriptors with greater numbers as free. It notices
/// a changed limit when no connection waits, or after 16 connections. While no stream
/// is open at all, the listener takes one even then.
///
/// Both pauses are timers on the loop's clock. On a `manual_clock` that holds, a
/// listener in a pause does not keep its loop running. On one that jumps, the clock
/// jumps by 50 ms again and again until a descriptor is free.
///
/// When the program has no memory for a connection, that is an error,
/// `not_enough_memory`, and the next accept gets the connection.
///
/// Lifetime: the loop outlives it. It may be moved while an accept waits.
/// Closing or destroying it drops a handler; a coroutine that awaits goes on
/// with `operation_canceled`.
/// Cancelling: of an accept that is dropped nothing is lost: the next one gets
/// the connection.
class tcp_listener {
public:
  struct options {
    /// How many connections may wait to be accepted; the system has a limit of
    /// its own, /proc/sys/net/core/somaxconn.
    int backlog = 4096;
    /// Listens though connections of an earlier process linger at the address.
    bool reuse_address = true;
    /// Shares the address with other listeners that do; the kernel spreads the
    /// connections among them.
    bool reuse_port = false;
    /// `[::]` takes IPv4 connections, too, unless this is set.
    bool ipv6_only = false;
  };

  /// Not open.
  tcp_listener() noexcept = default;

  /// Listens at `where`; of port 0 the system makes a free one.
  /// Errors: `std::system_error` that names the address; `std::bad_alloc`.
  tcp_listener(event_loop& loop, const address& where) : tcp_listener(loop, where, options()) {}
  tcp_listener(event_loop& loop, const address& where, const options& how);

  /// Takes over a socket that listens already, and closes it also if this throws.
  tcp_listener(event_loop& loop, int descriptor);

  tcp_listener(tcp_listener&&) noexcept = default;
  tcp_listener& operator=(tcp_listener&&) noexcept = default;
  ~tcp_listener() = default;

  /// The next connection, on the listener's loop. One accepts at a time.
  detail::to_await<detail::accept_call> accept() { return {socket(), detail::accept_call()}; }
  void accept(handler<void(result<tcp_stream>)> on_accepted);
  /// Empty if there is none. It does not hold: it takes the last descriptors, too,
  /// and `too_many_files_open` and the like are told.
  [[nodiscard]] std::optional<result<tcp_stream>> try_accept();

  /// Ends the accept that waits, as `close` does.
  void stop_accepting() noexcept { socket().stop(readiness::direction::read); }

  /// Connections that were not accepted are reset.
  void close() noexcept { socket_.close(); }
  [[nodiscard]] bool open() const noexcept { return socket_.open(); }

  /// Where it listens, with the true port.
  [[nodiscard]] const address& local_address() const noexcept { return socket().name(); }

  [[nodiscard]] int descriptor() const noexcept { return socket().descriptor(); }
  [[nodiscard]] event_loop& loop() const noexcept { return open_socket().loop(); }

  /// How many listeners are open in this process, on all loops. Threads: any.
  [[nodiscard]] static std::size_t count() noexcept { return detail::open_listeners(); }

private:
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
