// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <eddy/loop/clock.h>
#include <eddy/loop/timer_node.h>
#include <eddy/net/address.h>
#include <eddy/testing/detail/simulated_context.h>
#include <eddy/testing/detail/simulated_socket.h>
#include <eddy/testing/simulated_network.h>

namespace eddy::detail {

/// A message from one end of a connection to the other.
struct simulated_packet {
  enum class kind : std::uint8_t {
    connect,      // SYN
    accept,       // SYN and ACK
    confirm,      // the ACK that ends the handshake
    refuse,       // RST in answer to a SYN
    unreachable,  // ICMP in answer to a SYN
    bytes,
    space,  // the program has read `count` bytes
    end,    // FIN
    reset,  // RST
  };

  std::shared_ptr<simulated_connection> connection;
  unsigned to = 0;  // the end that receives it
  kind what = kind::bytes;
  std::string bytes = {};
  std::size_t count = 0;
};

/// Carries packets between the ends of connections: with delays, in order, and not between hosts
/// that cannot reach each other. TCP repeats what is lost, so a packet is only kept back.
class simulated_wire {
public:
  /// An end that gets the packets.
  class receiver {
  public:
    virtual void arrive(const simulated_packet& packet) = 0;
    /// The alarm of an end has expired.
    virtual void expire(simulated_connection& connection, unsigned side) = 0;

  protected:
    ~receiver() = default;
  };

  simulated_wire(simulated_context& context, receiver& to) noexcept;
  simulated_wire(const simulated_wire&) = delete;
  simulated_wire& operator=(const simulated_wire&) = delete;

  /// Sends a packet, which waits for `pause` before its way. Without any delay it arrives within
  /// this call.
  void send(simulated_packet packet, duration pause = duration::zero());

  /// Calls `expire` after `time`, unless the alarm is cleared before.
  void set_alarm(const std::shared_ptr<simulated_connection>& connection, unsigned side,
                 duration time);
  void clear_alarm(simulated_end& end);

  void set_host(const address& at, simulated_network::host how);
  [[nodiscard]] simulated_network::host of(const address& at) const;
  void partition(const address& a, const address& b);
  void heal(const address& a, const address& b);
  void heal();

private:
  using hosts = std::pair<address, address>;

  [[nodiscard]] static hosts pair_of(const address& a, const address& b) noexcept;
  [[nodiscard]] bool blocked(const simulated_connection& connection) const;
  void keep_back(simulated_packet&& packet);
  /// Keeps back what cannot go on, and sends what can go on now.
  void sort_again();
  void run();
  void set_timer();

  struct timer : timer_node {
    explicit timer(simulated_wire& w) noexcept
        : timer_node(w.context_.loop(), [](ready_node& n) { static_cast<timer&>(n).wire.run(); }),
          wire(w) {}
    simulated_wire& wire;
  };

  simulated_context& context_;
  receiver& receiver_;
  timer timer_;
  std::uint64_t events_ = 0;
  std::map<simulated_moment, simulated_packet> under_way_;
  std::vector<simulated_packet> kept_back_;
  std::map<simulated_moment, std::pair<std::shared_ptr<simulated_connection>, unsigned>> alarms_;
  std::set<hosts> partitions_;
  std::map<address, simulated_network::host> hosts_;
};

}  // namespace eddy::detail
