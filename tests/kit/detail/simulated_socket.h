// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <sys/types.h>

#include <eddy/loop/clock.h>
#include <eddy/net/address.h>
#include <eddy/net/unix_address.h>

namespace eddy::detail {

struct simulated_socket;

/// Bytes that have arrived and were not read.
class byte_queue {
public:
  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size() - begin_; }
  void add(std::string_view more) { bytes_ += more; }
  /// Copies the first bytes to `to`.
  void peek(char* to, std::size_t count) const noexcept {
    std::copy_n(bytes_.data() + begin_, count, to);
  }
  void drop(std::size_t count) noexcept {
    begin_ += count;
    if (begin_ != bytes_.size()) return;
    bytes_.clear();
    begin_ = 0;
  }

private:
  std::string bytes_;
  std::size_t begin_ = 0;
};

/// The time of an event and its position among the events of that time.
using simulated_moment = std::pair<time_point, std::uint64_t>;

/// One end of a connection. It outlives its socket, until its last bytes have arrived.
struct simulated_end {
  simulated_socket* socket = nullptr;  // null before it was accepted, and when it was closed
  std::string words;                   // names it in the trace: "socket 3"
  address name;
  unix_address path;
  byte_queue received;
  std::size_t send_buffer = 0;
  std::size_t receive_buffer = 0;
  std::size_t unacknowledged = 0;  // bytes sent that the program at the other end has not read
  std::size_t under_way = 0;       // packets sent that have not arrived
  time_point last_arrival{};       // of the packets that this end has sent
  std::optional<simulated_moment> alarm;
  int error = 0;             // the `errno` that the next call reports
  bool established = false;  // the handshake is over for this end
  bool ended_in = false;     // the peer sends no more
  bool shut_in = false;      // the program reads no more
  bool ended_out = false;    // the program sends no more
  bool gone = false;         // the socket was closed
  bool reset = false;        // the connection has failed
};

struct simulated_connection {
  bool local = false;                 // of Unix sockets: nothing has a delay
  std::array<simulated_end, 2> ends;  // the one that has connected, and the one that was accepted
  int listener = -1;                  // the descriptor at which the handshake is under way
  int attempts = 0;                   // of the handshake
};

/// A socket: what a descriptor stands for.
struct simulated_socket {
  enum class state : std::uint8_t { unconnected, listening, connecting, connected };

  int descriptor = -1;
  std::string words;  // names it in the trace: "socket 3"
  int family = 0;
  int type = 0;
  state is = state::unconnected;
  bool bound = false;
  address local;
  unix_address path;
  std::size_t send_buffer = 0;
  std::size_t receive_buffer = 0;
  std::optional<duration> user_timeout;
  bool only_v6 = false;
  bool reuse_address = false;
  bool reuse_port = false;
  bool resets_on_close = false;                       // SO_LINGER with a time of zero
  ::mode_t mode = 0755;                               // of the file that `bind` makes
  std::map<std::pair<int, int>, std::string> values;  // options that change nothing

  // Of a listener.
  std::deque<std::shared_ptr<simulated_connection>> queue;
  std::size_t backlog = 0;
  std::size_t handshakes = 0;

  // Of a stream.
  std::shared_ptr<simulated_connection> connection;
  unsigned side = 0;

  [[nodiscard]] simulated_end& end() const noexcept { return connection->ends[side]; }
  [[nodiscard]] simulated_end& peer() const noexcept { return connection->ends[1 - side]; }
};

}  // namespace eddy::detail
