// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <eddy/loop/clock.h>
#include <eddy/net/address.h>

namespace eddy {

class event_loop;

namespace detail {
class simulated_kernel;
}

/// Settings of a `simulated_network`. A probability is a number from 0, never, to 1, always.
struct simulated_network_options {
  /// The seed of all random choices.
  std::uint64_t seed = 1;

  /// Each packet of TCP travels for a random time from `shortest_delay` to `longest_delay`. Packets
  /// of one connection and direction arrive in order. Unix sockets have no delay.
  duration shortest_delay = std::chrono::milliseconds(1);
  duration longest_delay = std::chrono::milliseconds(10);

  /// The probability that a read returns fewer bytes than have arrived.
  double short_reads = 0;
  /// The probability that a write takes fewer bytes than there is space for.
  double short_writes = 0;
  /// The probability that a write to a TCP connection resets the connection instead.
  double resets = 0;

  /// The size in bytes of the send buffer and of the receive buffer of each socket. Zero aborts the
  /// program.
  std::size_t buffer_size = std::size_t{64} * 1024;

  /// A connect to a host that does not answer fails with `timed_out` after this time. The default
  /// is that of Linux (tcp_syn_retries in tcp(7)).
  duration connect_limit = std::chrono::seconds(127);
  /// A connection fails with `timed_out` if its bytes cannot be delivered for this time, unless its
  /// socket has a `user_timeout`. The default is that of Linux (tcp_retries2 in tcp(7)).
  duration send_limit = std::chrono::milliseconds(924'600);

  /// The addresses from which sockets without an address of their own connect to other hosts than
  /// loopback.
  address home_v4{address::v4_bytes{10, 0, 0, 1}, 0};
  address home_v6{address::v6_bytes{0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 0};

  /// The number of lines that `trace` keeps.
  std::size_t trace_lines = 10'000;
};

/// An in-memory network in place of the kernel's: sockets that are made while it exists are
/// simulated.
///
///     simulated_network network(loop, {.seed = 7, .short_reads = 0.5});
///     network.set_host(silent_address, simulated_network::host::silent);
///     run_my_unchanged_servers_and_clients(loop);
///
/// The programs use `tcp_stream`, `tcp_listener`, `connect`, `unix_stream`, `unix_listener` and
/// `socket_pair` as usual, and no descriptor is opened. Time passes by the loop's clock: on a
/// `manual_clock` that jumps, hours take no time. Without other threads and real descriptors in the
/// program, the same seed gives the same events in the same order.
///
/// Every address is an address of this network. A listener may listen at any of them, and so the
/// program can simulate many hosts. A client is on the host of `socket_options::local`, or else on
/// `home_v4` or `home_v6`. A connect to an address without a listener is refused. There are no
/// subnets: a connect fails as on the kernel only if its address is 255.255.255.255,
/// 127.255.255.255, a multicast address, or a link-local IPv6 address without a scope.
///
/// The path of a Unix socket is only a name of this network, and no file. A listener needs no
/// directory and no permission, and `connect` ignores the mode of a path. Renaming or removing a
/// file does not change a name. A listener does not see that a real file has its path.
///
/// A wait for a simulated socket does not keep the loop running; whatever is under way in the
/// network does. So `run` returns, and `block_on` reports a deadlock, when nothing more can happen.
///
/// Not simulated: UDP, and with it the name servers of a `resolver`; Unix datagram and seqpacket
/// sockets; descriptors in messages; rare options. These calls fail with `operation_not_supported`,
/// and `trace` names the call. Keep-alive is accepted and probes nobody. `copy` moves bytes through
/// its buffer instead of the kernel. Pipes, files and processes stay real. A `descriptor_watch` of
/// a simulated socket fails with `bad_file_descriptor`. A connection that was accepted or has ended
/// (TIME_WAIT) keeps no address in use, so that a listener can start again also without
/// `reuse_address`.
///
/// Errors: operations of a socket on another loop of this thread fail with `bad_file_descriptor`.
/// Lifetime: the loop must outlive the network. Destroy the sockets first: sockets that are left
/// fail with `bad_file_descriptor`.
class simulated_network {
public:
  using options = simulated_network_options;

  /// The way in which a host answers.
  enum class host : std::uint8_t {
    reachable,    ///< the default: a connect succeeds, or is refused
    silent,       ///< nothing arrives at the host or comes from it
    unreachable,  ///< a connect fails with `host_unreachable`; established connections are silent
  };

  /// Replaces the kernel on this thread. Aborts with a message if the loop has a simulated network.
  explicit simulated_network(event_loop& loop, const options& how = {});
  simulated_network(const simulated_network&) = delete;
  simulated_network& operator=(const simulated_network&) = delete;
  /// Gives this thread its kernel back.
  ~simulated_network();

  /// Gives a host name addresses, in the order in which `resolve` returns them. Their ports do not
  /// matter. Other names, except localhost, are not found.
  void add_name(std::string name, std::vector<address> addresses);

  /// Decides how the host of `at` answers from now on. The port does not matter.
  void set_host(const address& at, host how);

  /// Keeps back everything between two hosts, also what is under way. The ports do not matter.
  void partition(const address& a, const address& b);
  /// Ends the partition of two hosts. TCP delivers now what was kept back.
  void heal(const address& a, const address& b);
  /// Ends all partitions.
  void heal();

  /// Resets all established connections of TCP: both ends fail with `connection_reset`.
  void reset_all();

  /// The number of simulated sockets that are open.
  [[nodiscard]] std::size_t open_sockets() const noexcept;

  /// The last events, one per line, each with the time since the network was made. The same events
  /// give the same text.
  [[nodiscard]] std::string trace() const;

private:
  std::unique_ptr<detail::simulated_kernel> kernel_;
};

}  // namespace eddy
