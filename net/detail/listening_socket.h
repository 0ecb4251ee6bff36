// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include <eddy/loop/timer_node.h>
#include <eddy/net/address.h>
#include <eddy/net/detail/loop_sockets.h>
#include <eddy/net/detail/open_socket.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

/// Owns the open socket of a listener, and can pause accepting.
///
/// The kernel reports a connection again and again until it is accepted. A listener that cannot
/// accept therefore pauses: the loop does not watch its socket meanwhile.
class listening_socket final : private descriptor_waiter {
public:
  /// The length of a pause that nothing ends early.
  static constexpr std::chrono::milliseconds longest_pause{50};

  /// The listener pauses after so many failed connections in a row. With a smaller number, a client
  /// that resets its connections would delay the connections of others.
  static constexpr int most_failures = 32;

  /// After so many connections in a row the listener reads the descriptor limit again, which is a
  /// system call.
  static constexpr int connections_per_limit_check = 16;

  /// The number of descriptors, of `limit`, that the listener leaves to the rest of the program.
  static constexpr std::size_t reserve(std::size_t limit) noexcept {
    return std::clamp<std::size_t>(limit / 16, 8, 16);
  }

  /// Takes over `descriptor`, which listens at `name`.
  /// Errors: `std::bad_alloc`.
  listening_socket(event_loop& loop, socket_descriptor descriptor, const address& name);
  ~listening_socket();

  [[nodiscard]] open_socket& socket() const noexcept { return *socket_; }

  /// Cancels the pending accept.
  void stop_accepting() noexcept;

  /// Pauses until a socket of this loop is closed, or `longest_pause` is over. The pending accept,
  /// or an accept that starts meanwhile, is attempted then. Returns false, without a pause, if
  /// there is no memory.
  [[nodiscard]] bool pause() noexcept;
  [[nodiscard]] bool paused() const noexcept { return timer_.pending(); }
  void end_pause() noexcept;

  /// Counts a connection that failed. Too many in a row start a pause of `longest_pause`.
  void connection_failed() noexcept;
  /// Notes that the kernel gave a connection with this descriptor.
  void connection_accepted(int descriptor) noexcept;
  /// Notes that the kernel's queue is empty.
  void queue_empty() noexcept { failures_ = until_limit_check_ = 0; }

  /// Whether the reserve is still free after the next connection. True while no stream is open: a
  /// program without any connection serves nobody.
  [[nodiscard]] bool may_accept() const noexcept;

  // Shedding.

  /// Decides whether connections at the limit of descriptors are closed at once. Returns false, and
  /// sets `errno`, if there is no descriptor for the reserve.
  [[nodiscard]] bool set_sheds(bool on) noexcept;
  [[nodiscard]] bool sheds() const noexcept { return sheds_; }
  /// Accepts a connection and closes it. If no descriptor is free, this uses the reserve. Returns
  /// the `errno` of accept, or zero.
  [[nodiscard]] int shed_one() noexcept;
  [[nodiscard]] std::uint64_t shed_count() const noexcept { return shed_count_; }

  /// A connection that the kernel gave, and for which there was no memory. The next accept returns
  /// it.
  struct connection {
    socket_descriptor descriptor;  // negative if there is no such connection
    address peer;
  };
  [[nodiscard]] connection& accepted() noexcept { return accepted_; }
  /// Gives `accepted` the lowest free descriptor number: a watch of a higher number takes more
  /// memory.
  void renumber_accepted() noexcept;

  /// The number of listeners that are open in this process.
  /// Threads: any.
  [[nodiscard]] static std::size_t count() noexcept;

private:
  struct timer : timer_node {
    timer(listening_socket& s, event_loop& loop) noexcept
        : timer_node(loop, [](ready_node& n) { static_cast<timer&>(n).socket.try_again(); }),
          socket(s) {}
    listening_socket& socket;
  };

  void descriptor_freed() noexcept override { try_again(); }
  void try_again() noexcept;
  [[nodiscard]] bool start_timer() noexcept;
  [[nodiscard]] bool make_spare() noexcept;
  static void note_shortage() noexcept;

  loop_sockets& shared_;
  open_socket* socket_;
  timer timer_;
  connection accepted_;
  int failures_ = 0;           // in a row
  int until_limit_check_ = 0;  // connections
  std::size_t limit_ = 0;      // of descriptors
  bool sheds_ = false;
  socket_descriptor spare_;  // the reserve, if `sheds_`; negative if it could not be made again
  std::uint64_t shed_count_ = 0;
};

}  // namespace eddy::detail
