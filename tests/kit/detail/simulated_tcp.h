// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include <eddy/net/address.h>
#include <eddy/testing/detail/simulated_context.h>
#include <eddy/testing/detail/simulated_socket.h>
#include <eddy/testing/detail/simulated_streams.h>
#include <eddy/testing/detail/simulated_wire.h>

namespace eddy::detail {

/// The addresses, ports, listeners and handshakes of TCP.
///
/// As in the kernel, a call returns a negative `errno` if it fails.
class simulated_tcp {
public:
  simulated_tcp(simulated_context& context, simulated_wire& wire,
                simulated_streams& streams) noexcept
      : context_(context), wire_(wire), streams_(streams) {}
  simulated_tcp(const simulated_tcp&) = delete;
  simulated_tcp& operator=(const simulated_tcp&) = delete;

  int bind(simulated_socket& socket, const address& to);
  int listen(simulated_socket& socket);
  int connect(simulated_socket& socket, const address& to);
  /// Frees the address of a socket, and resets the connections that a listener has not accepted.
  void close(simulated_socket& socket);

  /// Takes a packet of a handshake.
  void arrive(const simulated_packet& packet);
  /// The limit of a connect has passed.
  void expire(simulated_connection& connection);

private:
  [[nodiscard]] std::uint16_t free_port() noexcept;
  /// Whether `socket` cannot have the address `at` because of another socket.
  [[nodiscard]] bool taken(const simulated_socket& socket, const address& at) noexcept;
  /// Gives `socket` the address `at`.
  void take(simulated_socket& socket, const address& at);
  /// Whether there is a connection from `own` to `peer`.
  [[nodiscard]] bool connected(const address& own, const address& peer) noexcept;
  /// The sockets at a port.
  [[nodiscard]] std::span<simulated_socket* const> sockets_at(std::uint16_t port) noexcept;
  [[nodiscard]] simulated_socket* listener_at(const address& at);
  [[nodiscard]] simulated_socket* listener_of(const simulated_connection& connection) noexcept;
  void arrive_at_listener(const simulated_packet& packet);
  void confirm(const simulated_packet& packet);
  void end_connect(simulated_connection& connection, int error);

  simulated_context& context_;
  simulated_wire& wire_;
  simulated_streams& streams_;
  std::map<std::uint16_t, std::vector<simulated_socket*>> bound_;  // the sockets at each port
  std::uint16_t next_port_ = 32768;
};

}  // namespace eddy::detail
