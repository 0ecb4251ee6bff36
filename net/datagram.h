// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <system_error>

#include <eddy/net/address.h>
#include <eddy/net/buffer.h>

namespace eddy {

/// The source of a datagram that is sent. The kernel chooses each part that is not set.
///
/// To answer from where a question arrived, use the `reply_source` of the received datagram.
struct datagram_source {
  /// A local address of this machine; its port is ignored. A broadcast address or a group is no
  /// source: a send from it fails.
  address from{};
  /// The number of the network interface; zero lets the kernel choose.
  std::uint32_t interface = 0;
};

/// The report of a receive about one datagram.
///
/// A datagram may have 0 bytes. `size` 0 is therefore not the end of a stream.
struct datagram {
  /// The number of bytes in the buffer.
  std::size_t size = 0;
  /// The number of bytes that were sent. It is larger than `size` if the datagram was truncated.
  std::size_t whole_size = 0;
  /// Whether the datagram was larger than the buffer. The bytes beyond the buffer are lost.
  bool truncated = false;
  /// The sender. A socket at `[::]` reports an IPv4 sender as `[::ffff:1.2.3.4]`.
  address from{};
  /// The address to which the datagram was sent, with the port of the socket. It may be a broadcast
  /// address or a group. It is empty unless the option `destination` is set.
  address to{};
  /// The number of the network interface that received the datagram, with the option `destination`;
  /// zero if it is not known.
  std::uint32_t interface = 0;
  /// The source of a reply, with the option `destination`: pass it to a send.
  ///
  /// It has the address `to`. If that is an IPv4 broadcast address or group, it has the address of
  /// this machine that the sender can reach; if that is an IPv6 group, it has only the interface.
  datagram_source reply_source{};
  /// The size of each datagram, if the kernel joined several in the buffer because of the option
  /// `join_datagrams`. The last datagram may be smaller. Zero if there is only one.
  std::size_t segment_size = 0;
};

/// One of the datagrams that a `receive_many` receives: its buffer, and the report about it.
struct incoming_datagram {
  incoming_datagram() = default;
  incoming_datagram(mutable_buffer into) noexcept : buffer(into) {}

  /// The memory for the bytes.
  mutable_buffer buffer = std::span<std::byte>();
  /// The report of the receive.
  datagram received{};
};

/// One of the datagrams that a `send_many` sends.
struct outgoing_datagram {
  outgoing_datagram() = default;
  outgoing_datagram(const_buffer b, const address& receiver = {}, const datagram_source& s = {},
                    std::size_t segment = 0) noexcept
      : bytes(b), to(receiver), source(s), segment_size(segment) {}
  /// Does not compile: the bytes of a temporary would be destroyed before they are sent.
  template <detail::temporary_bytes Bytes>
  outgoing_datagram(Bytes&&, const address& = {}, const datagram_source& = {}, std::size_t = 0) {
    static_assert(!detail::temporary_bytes<Bytes>,
                  "an outgoing_datagram outlives these bytes: keep them in a variable");
  }

  /// The bytes. They must outlive the operation.
  const_buffer bytes{};
  /// The receiver; empty on a connected socket.
  address to{};
  /// The local address and the interface from which the datagram is sent.
  datagram_source source{};
  /// If this is not zero, the kernel cuts the bytes into datagrams of this size (UDP_SEGMENT, Linux
  /// 4.18); the last one may be smaller. The kernel allows 64 datagrams and 65,507 bytes in
  /// all.
  std::size_t segment_size = 0;
};

/// An ICMP message about a datagram that was sent.
struct icmp_error {
  /// The error, such as `connection_refused` if no socket has the port.
  std::error_code error{};
  /// The receiver of the datagram, which could not be reached.
  address unreachable{};
  /// The host or router that sent the ICMP message; its port is 0.
  address reporter{};
  /// Whether the message is of ICMPv6, whose types and codes differ from those of ICMP.
  bool v6 = false;
  /// The type and the code of the message: 3 and 3 of ICMP, or 1 and 4 of ICMPv6, for a port that
  /// no socket has.
  std::uint8_t type = 0;
  std::uint8_t code = 0;
  /// The largest packet that the path allows, in bytes, if the datagram was larger; otherwise zero.
  std::uint32_t path_mtu = 0;

  /// "127.0.0.1:53 is unreachable (ICMP type 3, code 3, from 127.0.0.1)".
  [[nodiscard, gnu::cold]] std::string to_string() const;
};

}  // namespace eddy
