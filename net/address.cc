// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/address.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <eddy/loop/detail/text.h>
#include <eddy/net/detail/system.h>

namespace eddy {

namespace {

template <class Number>
bool read_number(std::string_view text, Number& number) noexcept {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

auto invalid() noexcept {
  return std::unexpected(std::make_error_code(std::errc::invalid_argument));
}

/// A copy of a text that ends with a zero, for C functions. It does not fit if it is too long for
/// an address, or has a zero within.
struct zero_ended {
  explicit zero_ended(std::string_view text) noexcept
      : fits(text.size() < chars.size() && text.find('\0') == std::string_view::npos) {
    if (fits) text.copy(chars.data(), text.size());
  }
  std::array<char, 64> chars{};
  bool fits;
};

result<std::uint32_t> read_scope(std::string_view text) {
  std::uint32_t scope = 0;
  if (read_number(text, scope)) return scope;
  const zero_ended name(text);
  if (text.empty() || text.size() >= IF_NAMESIZE || !name.fits) return invalid();
  scope = detail::os().interface_index(name.chars.data());
  if (scope == 0) return std::unexpected(std::make_error_code(std::errc::no_such_device));
  return scope;
}

}  // namespace

result<address> address::parse(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return invalid();
  const std::string_view host = text.substr(0, colon);
  const bool bracketed = host.starts_with('[');
  if (!bracketed && host.find(':') != std::string_view::npos) return invalid();
  std::uint16_t port = 0;
  if (!read_number(text.substr(colon + 1), port)) return invalid();
  return parse(host, port);
}

result<address> address::parse(std::string_view host, std::uint16_t port) {
  if (host.starts_with('[')) {
    if (!host.ends_with(']')) return invalid();
    host = host.substr(1, host.size() - 2);
    if (host.find(':') == std::string_view::npos) return invalid();
  }
  if (host.find(':') == std::string_view::npos) {
    const zero_ended text(host);
    v4_bytes bytes;
    if (!text.fits || ::inet_pton(AF_INET, text.chars.data(), bytes.data()) != 1) return invalid();
    return address(bytes, port);
  }
  const auto percent = host.find('%');
  const zero_ended text(host.substr(0, percent));
  v6_bytes bytes;
  if (!text.fits || ::inet_pton(AF_INET6, text.chars.data(), bytes.data()) != 1) return invalid();
  if (percent == std::string_view::npos) return address(bytes, port);
  const auto scope = read_scope(host.substr(percent + 1));
  if (!scope) return std::unexpected(scope.error());
  return address(bytes, port, *scope);
}

address address::from(const sockaddr* name, std::size_t size) noexcept {
  if (size >= sizeof(sockaddr_in) && name->sa_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, name, sizeof v4);
    v4_bytes bytes;
    std::memcpy(bytes.data(), &v4.sin_addr, bytes.size());
    return {bytes, ntohs(v4.sin_port)};
  }
  if (size >= sizeof(sockaddr_in6) && name->sa_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, name, sizeof v6);
    v6_bytes bytes;
    std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
    return {bytes, ntohs(v6.sin6_port), v6.sin6_scope_id};
  }
  return {};
}

unsigned address::to(sockaddr_storage& name) const noexcept {
  if (is_v4()) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port_);
    std::memcpy(&v4.sin_addr, bytes_.data(), sizeof v4.sin_addr);
    std::memcpy(&name, &v4, sizeof v4);
    return sizeof v4;
  }
  if (is_v6()) {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port_);
    v6.sin6_scope_id = scope_;
    std::memcpy(&v6.sin6_addr, bytes_.data(), sizeof v6.sin6_addr);
    std::memcpy(&name, &v6, sizeof v6);
    return sizeof v6;
  }
  return 0;
}

bool address::is_loopback() const noexcept {
  return is_v4() ? bytes_[0] == 127 : is_v6() && bytes_ == loopback_v6(0).bytes_;
}

bool address::is_any() const noexcept {
  return family_ != family::none && std::ranges::all_of(bytes_, [](auto b) { return b == 0; });
}

std::string address::host() const {
  if (family_ == family::none) return "nowhere";
  std::array<char, INET6_ADDRSTRLEN> text;
  ::inet_ntop(is_v4() ? AF_INET : AF_INET6, bytes_.data(), text.data(), text.size());
  if (scope_ == 0) return text.data();
  std::array<char, IF_NAMESIZE> name;
  std::uint32_t number = 0;
  // `parse` would read a name that is a number as the number of another interface.
  if (detail::os().interface_name(scope_, name.data()) == nullptr ||
      read_number(std::string_view(name.data()), number)) {
    return detail::text({text.data(), "%", scope_});
  }
  return detail::text({text.data(), "%", name.data()});
}

std::string address::to_string() const {
  if (family_ == family::none) return host();
  if (is_v4()) return detail::text({host(), ":", port_});
  return detail::text({"[", host(), "]:", port_});
}

}  // namespace eddy

std::size_t std::hash<eddy::address>::operator()(const eddy::address& a) const noexcept {
  // FNV-1a over everything that `==` compares.
  std::uint64_t h = 14695981039346656037U;
  const auto add = [&h](std::uint64_t value) { h = (h ^ value) * 1099511628211U; };
  for (const std::uint8_t b : a.bytes()) add(b);
  add(a.scope());
  add(a.port());
  add(a.is_v4() ? 4U : a.is_v6() ? 6U : 0U);
  return static_cast<std::size_t>(h);
}
