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

/// Where a socket is, or what it talks to: an IPv4 or IPv6 address with a port.
///
/// An IPv6 address may have a scope: the number of the interface on whose link
/// it is. One that was made without arguments is neither, and less than all
/// others. A value, small and cheap to copy.
class address {
public:
  using v4_bytes = std::array<std::uint8_t, 4>;
  using v6_bytes = std::array<std::uint8_t, 16>;

  constexpr address() noexcept = default;
  constexpr address(v4_bytes bytes, std::uint16_t port) noexcept
      : port_(port), family_(family::v4) {
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes_[i] = bytes[i];
  }
  constexpr address(v6_bytes bytes, std::uint16_t port, std::uint32_t scope = 0) noexcept
      : bytes_(bytes), scope_(scope), port_(port), family_(family::v6) {}

  /// Reads `1.2.3.4:80`, `[::1]:80`, `[fe80::1%eth0]:80` or `[fe80::1%2]:80`.
  /// Names are `resolve`'s matter.
  /// Errors: `invalid_argument`; `no_such_device` for an interface that isn't there.
  [[nodiscard]] static result<address> parse(std::string_view text);

  /// Reads the same without a port, with or without the brackets.
  [[nodiscard]] static result<address> parse(std::string_view host, std::uint16_t port);

  /// This machine, for its own programs only.
  [[nodiscard]] static constexpr address loopback_v4(std::uint16_t port) noexcept {
    return {v4_bytes{127, 0, 0, 1}, port};
  }
  [[nodiscard]] static constexpr address loopback_v6(std::uint16_t port) noexcept {
    return {v6_bytes{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, port};
  }

  /// All addresses of this machine: to listen on.
  [[nodiscard]] static constexpr address any_v4(std::uint16_t port) noexcept {
    return {v4_bytes{}, port};
  }
  [[nodiscard]] static constexpr address any_v6(std::uint16_t port) noexcept {
    return {v6_bytes{}, port};
  }

  /// The system's form as a value; neither IPv4 nor IPv6 gives `address()`.
  [[nodiscard]] static address from(const sockaddr* name, std::size_t size) noexcept;

  /// Writes the system's form and returns its size; zero if this is neither.
  [[nodiscard]] unsigned to(sockaddr_storage& name) const noexcept;

  [[nodiscard]] constexpr bool is_v4() const noexcept { return family_ == family::v4; }
  [[nodiscard]] constexpr bool is_v6() const noexcept { return family_ == family::v6; }
  [[nodiscard]] bool is_loopback() const noexcept;
  [[nodiscard]] bool is_any() const noexcept;

  [[nodiscard]] constexpr std::uint16_t port() const noexcept { return port_; }
  [[nodiscard]] constexpr address with_port(std::uint16_t port) const noexcept {
    address other = *this;
    other.port_ = port;
    return other;
  }
  /// Zero: none.
  [[nodiscard]] constexpr std::uint32_t scope() const noexcept { return scope_; }
  [[nodiscard]] constexpr const v6_bytes& bytes() const noexcept { return bytes_; }

  /// What `parse` reads; an interface by its name, if it has one that is not a number.
  [[nodiscard, gnu::cold]] std::string to_string() const;
  /// The same without port and brackets.
  [[nodiscard, gnu::cold]] std::string host() const;

  /// IPv4 before IPv6, then by bytes, scope and port.
  [[nodiscard]] friend constexpr bool operator==(const address&, const address&) = default;
  [[nodiscard]] friend constexpr std::strong_ordering operator<=>(const address& a,
                                                                  const address& b) noexcept {
    if (const auto c = a.family_ <=> b.family_; c != 0) return c;
    if (const auto c = a.bytes_ <=> b.bytes_; c != 0) return c;
    if (const auto c = a.scope_ <=> b.scope_; c != 0) return c;
    return a.port_ <=> b.port_;
  }

private:
  enum class family : std::uint8_t { none, v4, v6 };

  v6_bytes bytes_{};  // of IPv4 the first four
  std::uint32_t scope_ = 0;
  std::uint16_t port_ = 0;
  family family_ = family::none;
};

}  // namespace eddy

template <>
struct std::hash<eddy::address> {
  [[nodiscard]] std::size_t operator()(const eddy::address& a) const noexcept;
};
