// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include <eddy/net/address.h>
#include <eddy/net/datagram.h>
#include <eddy/net/detail/open_socket.h>

namespace eddy::detail {

/// Owns the open socket of a `udp_socket`, and knows what its calls need to know.
class datagram_socket {
public:
  /// The settings of the socket that its calls depend on.
  struct state {
    bool v6 = false;
    bool connected = false;
    bool icmp_errors = false;
    std::uint16_t port = 0;  // of this end; zero until the kernel chooses one
  };

  /// Takes over `descriptor`; if this throws, the caller still owns that. `name` is the peer's
  /// address, or if there is none, the local one. Errors: `std::bad_alloc`.
  datagram_socket(event_loop& loop, int descriptor, const address& name, const state& how);
  datagram_socket(const datagram_socket&) = delete;
  datagram_socket& operator=(const datagram_socket&) = delete;
  ~datagram_socket();

  [[nodiscard]] open_socket& socket() const noexcept { return *socket_; }
  [[nodiscard]] state& how() noexcept { return how_; }
  [[nodiscard]] const state& how() const noexcept { return how_; }

  /// The ICMP error of the last receive, if that failed with one.
  [[nodiscard]] const std::optional<icmp_error>& last_icmp() const noexcept { return icmp_; }
  void forget_icmp() noexcept { icmp_.reset(); }

  /// Takes the next ICMP error from the error queue and keeps it as `last_icmp`. Returns its
  /// `errno`, or zero if there is none. Other entries of the queue are dropped.
  [[nodiscard]] int take_icmp() noexcept;

private:
  open_socket* socket_;
  state how_;
  std::optional<icmp_error> icmp_;
};

}  // namespace eddy::detail
