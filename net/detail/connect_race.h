// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <deque>
#include <optional>
#include <span>
#include <string>

#include <eddy/future/adapt.h>
#include <eddy/loop/timer.h>
#include <eddy/net/address.h>
#include <eddy/net/detail/delivery.h>
#include <eddy/net/detail/stream_socket.h>
#include <eddy/net/detail/tcp_attempt.h>
#include <eddy/net/detail/wake_up.h>
#include <eddy/net/socket_options.h>

namespace eddy::detail {

/// Connects to the first of several addresses that accepts: Happy Eyeballs version 2 (RFC 8305).
///
/// A coroutine owns the race and runs it:
///
///     while (!race.over()) {
///       race.go_on();
///       co_await race.wait();
///     }
///
/// The families of the addresses take turns (RFC 8305, 4). An attempt starts when the one before
/// has failed, or has run for `socket_options::attempt_delay`. The first attempt that connects
/// wins, and closes the sockets of the others.
class connect_race {
public:
  /// `happened` is noted whenever `go_on` or `over` may have changed.
  connect_race(event_loop& loop, wake_up& happened, std::string doing, const socket_options& how);
  connect_race(const connect_race&) = delete;
  connect_race& operator=(const connect_race&) = delete;

  /// Adds addresses behind those that were not tried yet.
  void add(std::span<const address> more);
  /// Notes that no more addresses will be added.
  void end_of_addresses() {
    complete_ = true;
    happened_->note();
  }

  /// Whether there is a winner, or nothing left to try.
  [[nodiscard]] bool over() const noexcept {
    return winner_ || (complete_ && running_ == 0 && !has_next());
  }
  /// Starts the next attempt, if one may start now.
  /// Errors: `std::bad_alloc`.
  void go_on();

  /// Has the coroutine wait until `go_on` or `over` may have changed.
  [[nodiscard]] auto wait() { return adapt(wake_up_wait(*happened_, *this)); }

  /// The socket of the winner; it owns nothing if no address has accepted.
  [[nodiscard]] stream_socket take_winner() noexcept { return std::move(winner_socket_); }
  /// Whether any address was added.
  [[nodiscard]] bool had_addresses() const noexcept { return !attempts_.empty() || has_next(); }
  /// The error of the last address that was tried, and the words that name each address with its
  /// error. At least one address must have been tried.
  [[nodiscard, gnu::cold]] failure why() const;

  /// "connect to host.example:80, trying 192.0.2.1:80 (descriptor 7)".
  [[nodiscard, gnu::cold]] std::string describe() const;

private:
  struct attempt {
    explicit attempt(const address& a) noexcept : to(a) {}

    address to;
    stream_socket socket;          // while the attempt runs
    std::optional<timer> limit{};  // of `socket_options::address_limit`
    failed_attempt failed{std::error_code()};
  };

  [[nodiscard]] bool has_next() const noexcept { return !next_[0].empty() || !next_[1].empty(); }
  [[nodiscard]] address take_next() noexcept;
  void start(attempt& a);
  void limit(attempt& a);
  void completed(attempt& a, result<void> how);
  void win(attempt& a) noexcept;
  void fail(attempt& a, const failed_attempt& why);

  event_loop* loop_;
  wake_up* happened_;
  std::string doing_;  // "connect to host.example:80"
  socket_options how_;
  std::array<std::deque<address>, 2> next_;  // IPv4 and IPv6, in the order of the resolver
  std::optional<bool> v6_last_;              // the family of the last attempt
  std::optional<bool> v6_first_;             // the family of the first address
  std::deque<attempt> attempts_;             // which keeps the addresses of its elements
  std::size_t running_ = 0;
  bool may_start_ = true;
  bool complete_ = false;
  bool winner_ = false;
  stream_socket winner_socket_;
  timer delay_;
};

}  // namespace eddy::detail
