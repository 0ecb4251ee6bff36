// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <eddy/net/address.h>

namespace eddy {

/// Says how a listener treats connections while too few descriptors are free.
enum class at_limit : std::uint8_t {
  /// They stay in the kernel's queue, and the listener pauses.
  hold,
  /// The listener accepts each and closes it at once, so that its client learns that it is not
  /// served, and can try another server.
  shed,
};

/// The options of a socket that are set before it is bound or connected.
///
///     udp_socket server(loop, address::any_v4(53), {.device = "eth0", .reuse_port = true});
///
/// One type serves all kinds of sockets. Each kind uses the members that apply to it and ignores
/// the others: `backlog` and `connections_at_limit` are for listeners, `local` is for sockets that
/// connect, `fast_open` to `attempt_delay` are for TCP, and the last four members are for datagram
/// sockets. An option without a value is not set, and the kernel's default holds.
///
/// Errors: the text of an error names the option: "listen at 127.0.0.1:80, option mark: Operation
/// not permitted".
/// Lifetime: the text of `device` must outlive the call. For an awaited `connect`, it must outlive
/// the operation.
struct socket_options {
  /// The number of connections that may wait to be accepted. The system's limit,
  /// /proc/sys/net/core/somaxconn, applies too.
  int backlog = 4096;
  /// Says how a `tcp_listener` treats connections while too few descriptors are free. For Unix
  /// sockets, `unix_listener_options` has the same member.
  at_limit connections_at_limit = at_limit::hold;
  /// Binds although closed connections of an earlier process still occupy the address. The default
  /// is true for a listener and false otherwise, because two UDP sockets that set it share a port.
  std::optional<bool> reuse_address{};
  /// Shares the address with other sockets that set this option. The kernel distributes connections
  /// or datagrams among them.
  bool reuse_port = false;
  /// Refuses IPv4 at the address `[::]`. Without this option, that address takes IPv4, too.
  bool ipv6_only = false;

  /// The address from which a `connect` starts; empty lets the system choose. With port 0, the
  /// system chooses the port when it connects (IP_BIND_ADDRESS_NO_PORT).
  address local{};
  /// The name of the network interface to which the socket is bound (SO_BINDTODEVICE). The error is
  /// `no_such_device` if no interface has this whole name.
  std::string_view device{};
  /// The mark of the socket's packets, for firewalls and routing (SO_MARK). Needs CAP_NET_ADMIN.
  std::optional<std::uint32_t> mark{};
  /// Allows binding to addresses that are not of this machine, for transparent proxies
  /// (IP_TRANSPARENT). Needs CAP_NET_ADMIN.
  bool transparent = false;
  /// Allows binding to an address that the machine does not have yet (IP_FREEBIND).
  bool freebind = false;
  /// The size of the kernel's send buffer in bytes. The kernel doubles it and applies its limits.
  std::optional<std::size_t> send_buffer{};
  /// The size of the kernel's receive buffer in bytes. The kernel doubles it and applies its
  /// limits.
  std::optional<std::size_t> receive_buffer{};

  /// TCP Fast Open. For a listener, this is the number of connections that may wait with early
  /// data. For a `connect`, any positive number turns it on: if the kernel has a cookie of the
  /// peer, the connect completes at once, and the first write opens the connection and reports its
  /// error. The first operation must therefore be a write.
  int fast_open = 0;
  /// The longest time that written bytes may stay unacknowledged before the connection fails
  /// (TCP_USER_TIMEOUT). The connections of a listener inherit it.
  std::optional<std::chrono::milliseconds> user_timeout{};
  /// How long a `connect` to an address may take, and a `connect` to a name with each address.
  /// An address that does not answer in this time fails with `timed_out`. With zero or less, that
  /// is each address that does not connect at once. Without a limit, the kernel gives up after
  /// about two minutes (net.ipv4.tcp_syn_retries).
  std::optional<std::chrono::milliseconds> address_limit{};
  /// The time after which a `connect` to a name also tries the next address: 250 ms, as RFC 8305
  /// recommends. Less than 10 ms counts as 10 ms, the minimum of the RFC; it advises against less
  /// than 100 ms and more than 2 s.
  std::chrono::milliseconds attempt_delay{250};

  /// Allows sending to broadcast addresses (SO_BROADCAST).
  bool broadcast = false;
  /// Reports with each datagram its destination address, its network interface and the source of a
  /// reply (IP_PKTINFO).
  bool destination = false;
  /// Reports the ICMP errors that datagrams cause, with their details (IP_RECVERR). See
  /// `udp_socket`.
  bool icmp_errors = false;
  /// Lets the kernel join datagrams of one sender into one buffer (UDP_GRO). Buffers should then
  /// have 64 KiB, because joined datagrams are truncated as one. A kernel that cannot join them,
  /// before Linux 5.0, ignores this.
  bool join_datagrams = false;
};

/// An option of a socket that can be set and read at any time: its name, and the type of its value.
///
///     socket.set(option::mark, 7);
///     const std::size_t size = socket.get(option::receive_buffer);
template <class T>
struct socket_option {
  int level;
  int number;
  const char* name;  // for the text of an error
};

/// The options for `set` and `get` of each kind of socket. `socket_options` documents each under
/// the same name.
namespace option {

extern const socket_option<bool> reuse_address;
extern const socket_option<bool> reuse_port;
extern const socket_option<bool> ipv6_only;
extern const socket_option<std::string> device;
extern const socket_option<std::uint32_t> mark;
extern const socket_option<bool> transparent;
extern const socket_option<bool> freebind;
extern const socket_option<std::size_t> send_buffer;
extern const socket_option<std::size_t> receive_buffer;
extern const socket_option<std::chrono::milliseconds> user_timeout;
extern const socket_option<bool> broadcast;

}  // namespace option

// implementation

namespace detail {

// These throw `std::system_error`, whose text is "setting the option NAME" or "asking for the
// option NAME".
void set_value(int descriptor, const socket_option<bool>& which, bool value);
void set_value(int descriptor, const socket_option<std::uint32_t>& which, std::uint32_t value);
void set_value(int descriptor, const socket_option<std::size_t>& which, std::size_t value);
void set_value(int descriptor, const socket_option<std::chrono::milliseconds>& which,
               std::chrono::milliseconds value);
void set_value(int descriptor, const socket_option<std::string>& which, std::string_view value);

[[nodiscard]] bool value_of(int descriptor, const socket_option<bool>& which);
[[nodiscard]] std::uint32_t value_of(int descriptor, const socket_option<std::uint32_t>& which);
[[nodiscard]] std::size_t value_of(int descriptor, const socket_option<std::size_t>& which);
[[nodiscard]] std::chrono::milliseconds value_of(
    int descriptor, const socket_option<std::chrono::milliseconds>& which);
[[nodiscard]] std::string value_of(int descriptor, const socket_option<std::string>& which);

/// The type of the argument that sets an option of type T.
template <class T>
struct option_argument {
  using type = T;
};
template <>
struct option_argument<std::string> {
  using type = std::string_view;
};

/// The members `set` and `get` of a `Socket`, which has a `descriptor`.
template <class Socket>
class with_options {
public:
  /// Sets an option of `<eddy/net/socket_options.h>`: `socket.set(option::mark, 7)`.
  /// Errors: `std::system_error` whose text names the option.
  template <class T>
  void set(const socket_option<T>& which, typename option_argument<T>::type value) {
    set_value(static_cast<const Socket&>(*this).descriptor(), which, value);
  }
  /// Returns the value of an option of `<eddy/net/socket_options.h>`.
  /// Errors: `std::system_error` whose text names the option.
  template <class T>
  [[nodiscard]] T get(const socket_option<T>& which) const {
    return value_of(static_cast<const Socket&>(*this).descriptor(), which);
  }

private:
  friend Socket;
  with_options() noexcept = default;
};

}  // namespace detail

}  // namespace eddy
