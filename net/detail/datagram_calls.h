// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include <eddy/net/address.h>
#include <eddy/net/buffer.h>
#include <eddy/net/datagram.h>
#include <eddy/net/detail/datagram_socket.h>
#include <eddy/net/detail/open_socket.h>

namespace eddy::detail {

// The calls on a datagram socket: each is a `socket_call`. Each knows its owner, whose end closes
// the socket; then none of them is attempted any more.

/// The number of datagrams that one system call moves. The kernel's share of a call falls little
/// with more, and the arrays for so many take 17 KiB of stack.
inline constexpr std::size_t most_datagrams = 64;

inline constexpr const char* receive_busy = "a receive is already pending on this udp_socket";
inline constexpr const char* send_busy = "a send is already pending on this udp_socket";

/// Receives one datagram.
class receive_call {
public:
  using value = datagram;
  static constexpr auto which = readiness::direction::read;
  static constexpr const char* name = "receive";
  static constexpr const char* busy = receive_busy;
  static constexpr bool tries = true;

  receive_call(datagram_socket& owner, mutable_buffer into) noexcept
      : owner_(&owner), data_(into.data()), size_(into.size()) {}
  std::optional<int> attempt(open_socket& socket);
  [[nodiscard]] value take() const noexcept { return received_; }
  [[nodiscard]] std::string doing(const open_socket& socket) const;

private:
  datagram_socket* owner_;
  std::byte* data_;
  std::size_t size_;
  datagram received_;
  bool failed_by_icmp_ = false;
};

/// Receives the datagrams that are there, up to the number of the array's elements.
class receive_many_call {
public:
  using value = std::size_t;
  static constexpr auto which = readiness::direction::read;
  static constexpr const char* name = "receive";
  static constexpr const char* busy = receive_busy;
  static constexpr bool tries = true;

  receive_many_call(datagram_socket& owner, std::span<incoming_datagram> into) noexcept;
  std::optional<int> attempt(open_socket& socket);
  [[nodiscard]] value take() const noexcept { return count_; }
  [[nodiscard]] std::string doing(const open_socket& socket) const;

private:
  datagram_socket* owner_;
  std::span<incoming_datagram> into_;
  std::size_t count_ = 0;
  bool failed_by_icmp_ = false;
};

/// Sends one datagram.
class send_call {
public:
  using value = void;
  static constexpr auto which = readiness::direction::write;
  static constexpr const char* name = "send";
  static constexpr const char* busy = send_busy;
  static constexpr bool tries = true;
  static constexpr int after_shutdown = 0;

  send_call(datagram_socket& owner, const outgoing_datagram& what) noexcept
      : owner_(&owner), what_(what) {}
  std::optional<int> attempt(open_socket& socket);
  void take() const noexcept {}
  [[nodiscard]] std::string doing(const open_socket& socket) const;

private:
  datagram_socket* owner_;
  outgoing_datagram what_;
};

/// Sends several datagrams, until one is refused.
class send_many_call {
public:
  using value = std::size_t;
  static constexpr auto which = readiness::direction::write;
  static constexpr const char* name = "send";
  static constexpr const char* busy = send_busy;
  static constexpr bool tries = true;
  static constexpr int after_shutdown = 0;

  /// With `waits` false, it does not wait until the kernel has space for all: it has a result as
  /// soon as one datagram is sent.
  send_many_call(datagram_socket& owner, std::span<const outgoing_datagram> all,
                 bool waits = true) noexcept
      : owner_(&owner), all_(all), waits_(waits) {}
  std::optional<int> attempt(open_socket& socket);
  [[nodiscard]] value take() const noexcept { return sent_; }
  [[nodiscard]] std::string doing(const open_socket& socket) const;

private:
  datagram_socket* owner_;
  std::span<const outgoing_datagram> all_;
  std::size_t sent_ = 0;
  bool waits_;
};

/// Waits until a receive or a send would not wait.
template <readiness::direction Which>
class wait_datagram_call {
public:
  using value = void;
  static constexpr auto which = Which;
  static constexpr bool reads = Which == readiness::direction::read;
  static constexpr const char* name = reads ? "wait to receive at" : "wait to send at";
  static constexpr const char* busy = reads ? receive_busy : send_busy;
  static constexpr bool tries = false;
  static constexpr int after_shutdown = 0;

  std::optional<int> attempt(open_socket& socket) noexcept {
    if (socket.suspected()) [[unlikely]]
      return std::nullopt;
    socket.set_reported(which);
    return 0;
  }
  void take() const noexcept {}
};

}  // namespace eddy::detail
