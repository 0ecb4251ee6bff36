// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <eddy/loop/result.h>

struct sockaddr;
struct sockaddr_storage;

namespace eddy {

/// The address of a socket: an IPv4 or IPv6 address with a port.
///
/// An IPv6 address may have a scope, which is the number of the network interface on whose link the
/// address is valid. A default-constructed address is empty: neither IPv4 nor IPv6. An `address` is
/// a value, and cheap to copy.
class address {
public:
  using v4_bytes = std::array<std::uint8_t, 4>;
  using v6_bytes = std::array<std::uint8_t, 16>;

  /// An empty address.
  constexpr address() noexcept = default;
  /// An IPv4 address of `bytes` in network order.
  constexpr address(v4_bytes bytes, std::uint16_t port) noexcept
      : port_(port), family_(family::v4) {
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes_[i] = bytes[i];
  }
  /// An IPv6 address of `bytes` in network order; `scope` is the number of a network interface.
  constexpr address(v6_bytes bytes, std::uint16_t port, std::uint32_t scope = 0) noexcept
      : bytes_(bytes), scope_(scope), port_(port), family_(family::v6) {}

  /// Parses an address with a port: `1.2.3.4:80`, `[::1]:80`, `[fe80::1%eth0]:80` or
  /// `[fe80::1%2]:80`. For host names, use `resolve`.
  /// Errors: `invalid_argument` if `text` is not such an address; `no_such_device` if the machine
  /// has no interface of that name.
  [[nodiscard]] static result<address> parse(std::string_view text);

  /// Parses an address without a port: `1.2.3.4`, `::1`, `[::1]`, `fe80::1%eth0` or `fe80::1%2`.
  /// For host names, use `resolve`.
  /// Errors: `invalid_argument` if `host` is not such an address; `no_such_device` if the machine
  /// has no interface of that name.
  [[nodiscard]] static result<address> parse(std::string_view host, std::uint16_t port);

  /// The loopback address 127.0.0.1, which only programs on this machine can reach.
  [[nodiscard]] static constexpr address loopback_v4(std::uint16_t port) noexcept {
    return {v4_bytes{127, 0, 0, 1}, port};
  }
  /// The loopback address ::1, which only programs on this machine can reach.
  [[nodiscard]] static constexpr address loopback_v6(std::uint16_t port) noexcept {
    return {v6_bytes{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, port};
  }

  /// The address 0.0.0.0, for a listener at every IPv4 address of this machine.
  [[nodiscard]] static constexpr address any_v4(std::uint16_t port) noexcept {
    return {v4_bytes{}, port};
  }
  /// The address ::, for a listener at every address of this machine. Such a `tcp_listener` also
  /// accepts IPv4 connections unless its option `ipv6_only` is set.
  [[nodiscard]] static constexpr address any_v6(std::uint16_t port) noexcept {
    return {v6_bytes{}, port};
  }

  /// Converts a `sockaddr` of `size` bytes. Returns an empty address if `name` is neither IPv4 nor
  /// IPv6.
  [[nodiscard]] static address from(const sockaddr* name, std::size_t size) noexcept;

  /// Writes this address to `name` as a `sockaddr_in` or `sockaddr_in6`. Returns the number of
  /// bytes written, which is zero for an empty address.
  [[nodiscard]] unsigned to(sockaddr_storage& name) const noexcept;

  [[nodiscard]] constexpr bool is_v4() const noexcept { return family_ == family::v4; }
  [[nodiscard]] constexpr bool is_v6() const noexcept { return family_ == family::v6; }
  /// Whether this is ::1 or an address of 127.0.0.0/8.
  [[nodiscard]] bool is_loopback() const noexcept;
  /// Whether this is 0.0.0.0 or ::.
  [[nodiscard]] bool is_any() const noexcept;

  [[nodiscard]] constexpr std::uint16_t port() const noexcept { return port_; }
  /// Returns a copy of this address with another port.
  [[nodiscard]] constexpr address with_port(std::uint16_t port) const noexcept {
    address other = *this;
    other.port_ = port;
    return other;
  }
  /// The number of the network interface of a link-local IPv6 address; zero if there is none.
  [[nodiscard]] constexpr std::uint32_t scope() const noexcept { return scope_; }
  /// The bytes of the address in network order. An IPv4 address has the first four; the others are
  /// zero.
  [[nodiscard]] constexpr const v6_bytes& bytes() const noexcept { return bytes_; }

  /// Prints the address and its port in the form that `parse` reads, as `127.0.0.1:80`. A scope is
  /// printed as the name of its interface, or as a number if it has no name or the name is a
  /// number. An empty address is printed as `nowhere`.
  [[nodiscard, gnu::cold]] std::string to_string() const;
  /// Prints the address without its port and without brackets, as `127.0.0.1` or `fe80::1%eth0`. An
  /// empty address is printed as `nowhere`.
  [[nodiscard, gnu::cold]] std::string host() const;

  /// Two addresses are equal if their family, bytes, scope and port are.
  [[nodiscard]] friend constexpr bool operator==(const address&, const address&) = default;
  /// Orders empty addresses before IPv4, and IPv4 before IPv6; then by bytes, scope and port.
  [[nodiscard]] friend constexpr std::strong_ordering operator<=>(const address& a,
                                                                  const address& b) noexcept {
    if (const auto c = a.family_ <=> b.family_; c != 0) return c;
    if (const auto c = a.bytes_ <=> b.bytes_; c != 0) return c;
    if (const auto c = a.scope_ <=> b.scope_; c != 0) return c;
    return a.port_ <=> b.port_;
  }

private:
  enum class family : std::uint8_t { none, v4, v6 };

  v6_bytes bytes_{};  // an IPv4 address has the first four
  std::uint32_t scope_ = 0;
  std::uint16_t port_ = 0;
  family family_ = family::none;
};

}  // namespace eddy

template <>
struct std::hash<eddy::address> {
  [[nodiscard]] std::size_t operator()(const eddy::address& a) const noexcept;
};
