// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include <eddy/loop/detail/watch.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/readiness.h>
#include <eddy/net/address.h>

namespace eddy::detail {

class operation;

/// An open socket: its descriptor, its readiness, and who reads and who writes.
///
/// It is owned by a stream or a listener, and held by the operations on it,
/// which find it closed when that one has gone. A stream's takes 120 bytes, and a
/// thread has many thousands: think before you add a member.
class open_socket {
public:
  using direction = readiness::direction;

  /// Owns `descriptor` from here on, also if this throws.
  /// Errors: `std::bad_alloc`.
  [[nodiscard]] static open_socket* make(event_loop& loop, int descriptor, const address& peer);
  /// The same, but if this throws, `descriptor` is still the caller's.
  [[nodiscard]] static open_socket* adopt(event_loop& loop, int descriptor, const address& peer) {
    return new open_socket(loop, descriptor, peer, false);
  }

  open_socket(const open_socket&) = delete;
  open_socket& operator=(const open_socket&) = delete;

  void retain() noexcept { ++holders_; }
  void release() noexcept {
    if (holders_ == 1) return destroy();
    --holders_;
  }

  /// Ends its operations: handlers are dropped, awaiting coroutines go on.
  void close() noexcept;
  [[nodiscard]] bool closed() const noexcept { return watch_.descriptor() < 0; }

  [[nodiscard]] int descriptor() const noexcept { return watch_.descriptor(); }
  [[nodiscard]] event_loop& loop() const noexcept { return watch_.loop(); }
  [[nodiscard]] std::error_code take_watch_error() noexcept { return watch_.take_failure(); }

  /// The other end's address; a listener's own.
  [[nodiscard]] const address& name() const noexcept { return name_; }
  [[nodiscard]] bool listens() const noexcept { return listens_; }

  /// Whether the last call said that the next one would find nothing: one that
  /// moved fewer bytes than it could, or failed with EAGAIN. What is ready is
  /// then the loop's to tell, and a try would be a wasted system call. (The
  /// kernel is asked for levels, not edges, so this can't miss anything.)
  [[nodiscard]] bool exhausted(direction which) const noexcept {
    return which == direction::read ? read_exhausted_ : write_exhausted_;
  }
  void set_exhausted(direction which, bool on) noexcept {
    if (which == direction::read) {
      read_exhausted_ = on;
      read_told_ = false;
    } else {
      write_exhausted_ = on;
      write_told_ = false;
    }
  }

  // The kernel reports a socket as ready, in both directions and again and again, while there is
  // something in its error queue, such as a time stamp or the end of a zero-copy send. An operation
  // that is woken by that finds nothing, and none of its calls ends the report.

  /// Somebody is told that it is ready, and will try.
  void set_told(direction which) noexcept {
    set_exhausted(which, false);
    if (which == direction::read) {
      read_told_ = true;
    } else {
      write_told_ = true;
    }
  }
  /// A call has found nothing. After somebody was told, the error queue is suspected.
  void found_nothing(direction which) noexcept {
    if (which == direction::read ? read_told_ : write_told_) suspected_ = true;
    set_exhausted(which, true);
  }
  [[nodiscard]] bool suspected() const noexcept { return suspected_; }

  /// Whether the call that is being made has moved anything.
  [[nodiscard]] bool moved() const noexcept { return moved_; }
  void set_moved(bool on) noexcept { moved_ = on; }

  /// The loop has said that it is ready, and `op` has found nothing. It tries again behind all that
  /// have come in this turn, so that the program can read the error queue first. If it finds
  /// nothing then either, what is left in the error queue is dropped, unless the program waits for
  /// more of it.
  void woken_in_vain(direction which, operation& op) noexcept;

  /// Stops the program if somebody reads, or writes, already.
  void expect_free(direction which) const noexcept;

  /// Makes `op` the one in this direction. One of a callback is owned from here on.
  void begin(direction which, operation& op, bool tries) noexcept;
  /// The same, and has the loop run it: at once if it `tries` and the last call left
  /// something, or when the socket is ready.
  void start(direction which, operation& op, bool tries) noexcept;
  /// It waits again, or only lets others run if the last call left something.
  void wait(direction which, operation& op) noexcept;
  /// It has its result.
  void finish(direction which, operation& op) noexcept;
  /// It is not wanted any more.
  void abandon(direction which, operation& op) noexcept;
  /// Ends the one in this direction as `close` does.
  void stop(direction which) noexcept;

  /// Ends the sending side: at once, or when the write that waits is over.
  void shutdown_writing() noexcept;
  /// Whether the sending side ends with the write that waits. No other may start.
  [[nodiscard]] bool ending() const noexcept { return ending_; }

  /// Ends the receiving side: what has come by now may be read, and then there is the end. Whoever
  /// reads goes on.
  void shutdown_reading() noexcept;
  [[nodiscard]] bool reading_ended() const noexcept { return reading_ended_; }
  /// How many more bytes may be read from one whose receiving side has ended.
  [[nodiscard]] std::uint32_t& unread() noexcept { return unread_; }

  /// The callback operation that is in this direction, or was: to use again.
  [[nodiscard]] operation* kept(direction which) const noexcept;

  /// "127.0.0.1:80 (descriptor 7)".
  [[nodiscard, gnu::cold]] std::string description() const;

protected:
  open_socket(event_loop& loop, int descriptor, const address& name, bool listens);
  ~open_socket();

  [[nodiscard]] operation* current(direction which) const noexcept {
    return current_[static_cast<std::size_t>(which)];
  }

private:
  void destroy() noexcept;
  [[nodiscard]] bool on_hold() const noexcept;
  [[nodiscard]] operation*& place(direction which) noexcept {
    return current_[static_cast<std::size_t>(which)];
  }
  /// Takes the one in this direction out. A coroutine's goes on, without a
  /// result; a callback's is given to the caller.
  [[nodiscard]] operation* cancel(direction which) noexcept;
  void end_hold() noexcept;
  void end_writing() noexcept;

  watch watch_;
  [[no_unique_address]] address name_;  // the flags lie in its padding
  bool listens_ : 1;
  bool read_exhausted_ : 1 = false;
  bool write_exhausted_ : 1 = false;
  bool ending_ : 1 = false;
  bool reading_ended_ : 1 = false;
  bool read_told_ : 1 = false;
  bool write_told_ : 1 = false;
  bool suspected_ : 1 = false;
  std::uint32_t holders_ : 31 = 1;
  bool moved_ : 1 = false;
  std::uint32_t unread_ = 0;
  // An awaiting coroutine's, or a callback's, which is owned and kept.
  std::array<operation*, 2> current_{};
};

/// Holds an open socket, for whoever owns it.
class socket_owner {
public:
  socket_owner() noexcept = default;
  explicit socket_owner(open_socket* s) noexcept : socket_(s) {}
  socket_owner(socket_owner&& other) noexcept : socket_(std::exchange(other.socket_, nullptr)) {}
  socket_owner& operator=(socket_owner&& other) noexcept {
    socket_owner(std::move(other)).swap(*this);
    return *this;
  }
  ~socket_owner() { close(); }

  void close() noexcept {
    open_socket* const dying = std::exchange(socket_, nullptr);
    if (dying == nullptr) return;
    dying->close();
    dying->release();
  }

  [[nodiscard]] open_socket* get() const noexcept { return socket_; }
  [[nodiscard]] bool open() const noexcept {
    if (socket_ != nullptr) socket_->loop().check_thread();
    return socket_ != nullptr;
  }

private:
  void swap(socket_owner& other) noexcept { std::swap(socket_, other.socket_); }

  open_socket* socket_ = nullptr;
};

/// How many streams are open in this process. Threads: any.
[[nodiscard]] std::size_t open_streams() noexcept;
/// The same for listeners.
[[nodiscard]] std::size_t open_listeners() noexcept;

}  // namespace eddy::detail
