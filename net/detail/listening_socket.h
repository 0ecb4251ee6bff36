// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>

#include <eddy/loop/detail/link.h>
#include <eddy/loop/timer_node.h>
#include <eddy/net/address.h>
#include <eddy/net/detail/open_socket.h>

namespace eddy::detail {

class loop_sockets;

/// A listener's socket, which can hold: while connections wait that can't be
/// accepted, the kernel goes on to report them.
class listening_socket final : public open_socket {
public:
  /// How long it holds if no socket of eddy's is closed meanwhile.
  static constexpr std::chrono::milliseconds pause{50};

  /// How many connections in a row may fail until it holds for a while. Fewer
  /// would let a client that resets its connections delay those of others.
  static constexpr int most_failures = 32;

  /// How many connections in a row may come until the limit of descriptors is asked for
  /// again, which is a system call.
  static constexpr int most_unasked = 16;

  /// How many of `limit` descriptors are left to the rest of the program.
  static constexpr std::size_t reserve(std::size_t limit) noexcept {
    return std::clamp<std::size_t>(limit / 16, 4, 16);
  }

  /// As `open_socket::make`.
  [[nodiscard]] static open_socket* make(event_loop& loop, int descriptor, const address& name);

  /// Has the accept that waits, or is about to, try again after a while, or as
  /// soon as a socket of this loop is closed; until then nothing is watched.
  /// False if memory is short.
  [[nodiscard]] bool hold() noexcept;
  /// Notes that a connection has failed. After too many in a row it holds, and no
  /// socket that is closed ends that.
  void connection_failed() noexcept;
  /// Notes that a connection has come, with this descriptor.
  void connection_came(int descriptor) noexcept;
  /// Notes that no connection waits.
  void none_waits() noexcept { failures_ = known_for_ = 0; }
  /// Whether the next connection would leave the reserve whole. While no stream is
  /// open, one is worth more than the reserve.
  [[nodiscard]] bool may_accept() const noexcept;
  [[nodiscard]] bool holds() const noexcept { return timer_.pending(); }
  void end_hold() noexcept;

  /// A descriptor is free: goes on with all that hold on this loop.
  static void go_on(const event_loop& loop) noexcept;

  /// A connection that the kernel has given away, and for which there was no
  /// memory: it is the next one.
  struct connection {
    int descriptor = -1;  // if there is none
    address peer;
  };
  [[nodiscard]] connection& accepted() noexcept { return accepted_; }
  /// Gives it the least number that is free: the greater the number, the more memory
  /// does a watch of it take.
  void renumber_accepted() noexcept;
  void refuse_accepted() noexcept;

private:
  friend class open_socket;

  struct timer : timer_node {
    timer(listening_socket& s, event_loop& loop) noexcept
        : timer_node(loop, [](ready_node& n) { static_cast<timer&>(n).socket.try_again(); }),
          socket(s) {}
    listening_socket& socket;
  };
  struct place : link {
    explicit place(listening_socket& s) noexcept : socket(s) {}
    listening_socket& socket;
  };

  listening_socket(event_loop& loop, loop_sockets& shared, int descriptor, const address& name);
  ~listening_socket() { end_hold(); }

  void try_again() noexcept;
  static void note_shortage() noexcept;

  loop_sockets& shared_;
  timer timer_;
  place place_;  // among those that hold
  connection accepted_;
  int failures_ = 0;       // in a row
  std::size_t limit_ = 0;  // of descriptors
  int known_for_ = 0;      // so many more connections
};

}  // namespace eddy::detail
