// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include <eddy/loop/detail/watch.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/readiness.h>
#include <eddy/net/address.h>

namespace eddy::detail {

class operation;

/// An open socket: its descriptor, its readiness, and one operation in each direction.
///
/// Its owner (a `stream_socket` or a `listening_socket`) and the operations on it share it by a
/// reference count. An operation that outlives the owner finds the socket closed.
///
/// A socket takes 120 bytes, and a process may have many thousands: think before you add a member.
class open_socket final {
public:
  using direction = readiness::direction;

  /// Makes a socket with one reference, which the caller has. It owns `descriptor`; if this throws,
  /// the caller still owns that.
  /// Errors: `std::bad_alloc`.
  [[nodiscard]] static open_socket* make(event_loop& loop, int descriptor, const address& name);

  open_socket(const open_socket&) = delete;
  open_socket& operator=(const open_socket&) = delete;

  void retain() noexcept { ++references_; }
  void release() noexcept {
    if (references_ == 1) return destroy();
    --references_;
  }

  /// Closes the descriptor and cancels both operations: destroys handlers, and resumes awaiting
  /// coroutines with ECANCELED.
  void close() noexcept;
  /// Ends this as `close` does, but returns the descriptor open, for the caller to close. The
  /// socket must not be closed.
  [[nodiscard]] int give_up() noexcept;
  [[nodiscard]] bool closed() const noexcept { return watch_.descriptor() < 0; }

  [[nodiscard]] int descriptor() const noexcept { return watch_.descriptor(); }
  [[nodiscard]] event_loop& loop() const noexcept { return watch_.loop(); }
  [[nodiscard]] std::error_code take_watch_error() noexcept { return watch_.take_failure(); }

  /// The peer's address; of a listener, its own address.
  [[nodiscard]] const address& name() const noexcept { return name_; }
  /// Names the peer in a message: "127.0.0.1:80", "/run/x.sock" or "unix peer, pid 812". The name
  /// of a Unix socket is not kept: this asks the kernel for it.
  [[nodiscard, gnu::cold]] std::string peer_words() const;
  void set_name(const address& name) noexcept { name_ = name; }
  /// "127.0.0.1:80 (descriptor 7)".
  [[nodiscard, gnu::cold]] std::string description() const;

  /// Whether this is one of the streams that `stream_socket::count` counts.
  [[nodiscard]] bool counted() const noexcept { return counted_; }
  void set_counted() noexcept { counted_ = true; }

  // Operations. At most one is current in each direction.

  /// Aborts the program with `busy` if an operation is pending in this direction.
  void expect_free(direction which, const char* busy) const noexcept;

  /// Makes `op` the current operation. The socket owns a callback operation from now on.
  void begin(direction which, operation& op, bool tries) noexcept;
  /// Begins `op` and has the loop attempt it: as soon as possible, or when the socket is ready. The
  /// latter holds if `op` only waits (`tries` is false), or if the socket is exhausted.
  void start(direction which, operation& op, bool tries) noexcept;
  /// Has the loop attempt `op` again: in its turn, or if the socket is exhausted, when it is ready.
  void wait(direction which, operation& op) noexcept;
  /// Has the loop attempt the pending operation, if there is one, without waiting for readiness.
  void run_again(direction which) noexcept;
  /// Notes that `op` has its result.
  void complete(direction which, operation& op) noexcept;
  /// Cancels `op`, whose waiter is being destroyed.
  void cancel(direction which, operation& op) noexcept;
  /// Cancels the pending operation as `close` does.
  void stop(direction which) noexcept;

  /// The callback operation of this direction, pending or completed, or null. A new one may reuse
  /// its memory.
  [[nodiscard]] operation* kept(direction which) const noexcept;

  /// Whether the last call emptied or filled the socket: it moved fewer bytes than it could, or
  /// failed with EAGAIN. The next operation then waits for readiness, because an attempt would be a
  /// wasted system call. This misses nothing, because the kernel reports levels and not edges.
  [[nodiscard]] bool exhausted(direction which) const noexcept {
    return which == direction::read ? read_exhausted_ : write_exhausted_;
  }
  void set_exhausted(direction which, bool on) noexcept {
    if (which == direction::read) {
      read_exhausted_ = on;
      read_reported_ = false;
    } else {
      write_exhausted_ = on;
      write_reported_ = false;
    }
  }

  /// Whether the call that is being made has moved bytes.
  [[nodiscard]] bool moved() const noexcept { return moved_; }
  void set_moved(bool on) noexcept { moved_ = on; }

  // Half-close.

  /// Ends the sending side: now, or when the pending write has completed.
  void shutdown_writing() noexcept;
  /// Whether a pending write delays the end of the sending side. No other write may start.
  [[nodiscard]] bool shutdown_delayed() const noexcept { return shutdown_delayed_; }

  /// Ends the receiving side: reads return the bytes that are there now, and then the end. A
  /// pending read is attempted again.
  void shutdown_reading() noexcept;
  [[nodiscard]] bool reading_ended() const noexcept { return reading_ended_; }
  /// The number of bytes that may still be read after `shutdown_reading`.
  [[nodiscard]] std::uint32_t& unread() noexcept { return unread_; }

  // The error queue. While it holds something, such as a time stamp or the end of a zero-copy send,
  // the kernel reports the socket as ready in both directions, again and again. The operations that
  // this wakes find nothing, and none of their calls ends the reports.

  /// Notes that a waiter is told that the socket is ready. The waiter will make a call.
  void set_reported(direction which) noexcept {
    set_exhausted(which, false);
    if (which == direction::read) {
      read_reported_ = true;
    } else {
      write_reported_ = true;
    }
  }
  /// Notes that a call found nothing. If the socket was reported as ready before, the error queue
  /// is suspected to be the reason.
  void found_nothing(direction which) noexcept {
    if (which == direction::read ? read_reported_ : write_reported_) suspected_ = true;
    set_exhausted(which, true);
  }
  [[nodiscard]] bool suspected() const noexcept { return suspected_; }

  /// Notes that the reads of this socket take the entries of the error queue, which may then not be
  /// dropped on behalf of a read.
  void keep_errors() noexcept { keeps_errors_ = true; }

  /// Handles a report of readiness for which `op` found nothing. The loop attempts `op` again after
  /// all descriptors of this turn, so that the program can read the error queue first. If `op` then
  /// finds nothing, this empties the error queue, unless the program waits for more of its entries.
  void spurious_wakeup(direction which, operation& op) noexcept;

private:
  open_socket(event_loop& loop, int descriptor, const address& name);
  ~open_socket() = default;

  void destroy() noexcept { delete this; }
  [[nodiscard]] operation* current(direction which) const noexcept {
    return current_[static_cast<std::size_t>(which)];
  }
  [[nodiscard]] operation*& current(direction which) noexcept {
    return current_[static_cast<std::size_t>(which)];
  }
  /// Takes out the current operation. Has the loop resume an awaiting coroutine with ECANCELED;
  /// returns a callback operation, which the caller destroys.
  [[nodiscard]] operation* take_out(direction which) noexcept;
  void end_sending() noexcept;
  /// Has the loop attempt the operation that waits for readiness, if there is one.
  void stop_waiting(direction which) noexcept;
  /// Ends both operations and the watch. Closes the descriptor, or leaves it open.
  void end(bool closes) noexcept;

  watch watch_;
  [[no_unique_address]] address name_;  // the flags lie in its padding
  bool read_exhausted_ : 1 = false;
  bool write_exhausted_ : 1 = false;
  bool shutdown_delayed_ : 1 = false;
  bool reading_ended_ : 1 = false;
  bool read_reported_ : 1 = false;
  bool write_reported_ : 1 = false;
  bool suspected_ : 1 = false;
  bool counted_ : 1 = false;  // among the open streams
  bool keeps_errors_ : 1 = false;
  std::uint32_t references_ : 29 = 1;
  bool moved_ : 1 = false;
  bool sending_ended_ : 1 = false;
  std::uint32_t unread_ = 0;
  // The operation of an awaiting coroutine, or a callback operation, which this owns and keeps.
  std::array<operation*, 2> current_{};
};

}  // namespace eddy::detail
