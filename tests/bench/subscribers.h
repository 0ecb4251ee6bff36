// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// The fan-out of one message to many connections: the part that all subjects share.

#include <cstdint>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

#include "bench/sockets.h"
#include "bench/workload.h"

namespace bench {

inline constexpr std::uint64_t subscriber_count = 100;
inline constexpr std::uint64_t messages_of_turn = 16;
inline constexpr std::size_t message_size = 64;

/// The far ends of 100 connections on the loopback interface, which discard what they receive.
class subscribers {
public:
  subscribers() {
    const listener at = listen_on(0);
    for (std::uint64_t i = 0; i < subscriber_count; ++i) {
      far_.push_back(connect_to(at.port));
      near_.push_back(accept_from(at.socket));
      if (near_.back() < 0) fail("accept");
    }
    ::close(at.socket);
  }
  subscribers(const subscribers&) = delete;
  subscribers& operator=(const subscribers&) = delete;
  ~subscribers() {
    for (const int s : far_) ::close(s);
  }

  /// The server's ends, which the subject closes.
  [[nodiscard]] const std::vector<int>& near() const noexcept { return near_; }

  void discard() const {
    for (const int s : far_) {
      if (::recv(s, nullptr, std::size_t{1} << 20, MSG_TRUNC | MSG_DONTWAIT) < 0) fail("recv");
    }
  }

private:
  std::vector<int> near_;
  std::vector<int> far_;
};

/// Publishes `count` messages, 16 a turn, and prints the time of one message to one subscriber.
/// `turn(n)` sends n messages to each subscriber. The time does not include the subscribers' reads.
template <class Turn>
void time_fan_out(const char* name, const subscribers& all, std::uint64_t count, Turn turn) {
  clock::duration spent{};
  std::uint64_t sent = 0;
  for (std::uint64_t round = 0; sent < count; ++round) {
    const auto begin = clock::now();
    turn(messages_of_turn);
    if (round != 0) {  // the first is a warm-up
      spent += clock::now() - begin;
      sent += messages_of_turn;
    }
    all.discard();
  }
  tell(name, nanoseconds(spent) / static_cast<double>(sent * subscriber_count));
}

}  // namespace bench
