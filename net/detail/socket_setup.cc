// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/socket_setup.h>

#include <cerrno>
#include <string_view>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <eddy/net/detail/options.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

namespace {

/// Sets options one after the other, until one fails.
class options_of {
public:
  explicit options_of(int descriptor) noexcept : descriptor_(descriptor) {}

  void set(const char* name, int level, int number, int value) noexcept {
    set(name, level, number, &value, sizeof value);
  }
  void set(const char* name, int level, int number, const void* value, std::size_t size) noexcept {
    if (failed_ != nullptr) return;
    if (os().set_option(descriptor_, level, number, value, static_cast<socklen_t>(size)) < 0) {
      failed_ = name;
    }
  }
  void bind_to(std::string_view device) noexcept {
    if (failed_ == nullptr && set_device(descriptor_, device) < 0) failed_ = "device";
  }
  /// As `set`, but a kernel that does not know the option is no error.
  void wish(const char* name, int level, int number, int value) noexcept {
    if (failed_ != nullptr) return;
    set(name, level, number, value);
    if (failed_ != nullptr && errno == ENOPROTOOPT) failed_ = nullptr;
  }

  [[nodiscard]] const char* failed() const noexcept { return failed_; }

private:
  int descriptor_;
  const char* failed_ = nullptr;
};

void set_up_datagrams(options_of& all, bool v6, const socket_options& how) noexcept {
  if (how.broadcast) all.set("broadcast", SOL_SOCKET, SO_BROADCAST, 1);
  // An IPv6 socket that also takes IPv4 gets the sources of its replies and the errors by IPv4 only
  // by the options of IPv4.
  if (how.destination && v6) all.set("destination", IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
  if (how.destination) all.set("destination", IPPROTO_IP, IP_PKTINFO, 1);
  if (how.icmp_errors && v6) all.set("icmp_errors", IPPROTO_IPV6, IPV6_RECVERR, 1);
  if (how.icmp_errors) all.set("icmp_errors", IPPROTO_IP, IP_RECVERR, 1);
  if (how.join_datagrams) all.wish("join_datagrams", IPPROTO_UDP, UDP_GRO, 1);
}

}  // namespace

const char* set_up(int descriptor, int family, socket_use use, const socket_options& how) noexcept {
  options_of all(descriptor);
  const bool v6 = family == AF_INET6;
  const bool listens = use == socket_use::listener;
  if (listens || how.reuse_address) {
    all.set("reuse_address", SOL_SOCKET, SO_REUSEADDR, how.reuse_address.value_or(listens) ? 1 : 0);
  }
  if (how.reuse_port) all.set("reuse_port", SOL_SOCKET, SO_REUSEPORT, 1);
  if (v6 && (use != socket_use::connection || how.ipv6_only)) {
    all.set("ipv6_only", IPPROTO_IPV6, IPV6_V6ONLY, how.ipv6_only ? 1 : 0);
  }
  if (!how.device.empty()) all.bind_to(how.device);
  if (how.mark) all.set("mark", SOL_SOCKET, SO_MARK, &*how.mark, sizeof *how.mark);
  if (how.transparent) all.set("transparent", IPPROTO_IP, IP_TRANSPARENT, 1);
  if (how.freebind) all.set("freebind", IPPROTO_IP, IP_FREEBIND, 1);
  if (how.send_buffer) all.set("send_buffer", SOL_SOCKET, SO_SNDBUF, as_int(*how.send_buffer));
  if (how.receive_buffer) {
    all.set("receive_buffer", SOL_SOCKET, SO_RCVBUF, as_int(*how.receive_buffer));
  }
  if (use == socket_use::datagrams) {
    set_up_datagrams(all, v6, how);
    return all.failed();
  }
  if (how.fast_open > 0 && listens) {
    all.set("fast_open", IPPROTO_TCP, TCP_FASTOPEN, how.fast_open);
  } else if (how.fast_open > 0) {
    all.set("fast_open", IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
  }
  if (how.user_timeout) {
    all.set("user_timeout", IPPROTO_TCP, TCP_USER_TIMEOUT, as_int(how.user_timeout->count()));
  }
  return all.failed();
}

const char* bind_local(int descriptor, const socket_options& how) noexcept {
  sockaddr_storage name;
  const socklen_t size = how.local.to(name);
  if (size == 0) return nullptr;
  options_of all(descriptor);
  // Otherwise the system would choose a port that is free for every destination, and a client
  // would run out of ports after some 28,000 connections: ip(7).
  if (how.local.port() == 0) all.wish("local", IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
  if (all.failed() != nullptr) return all.failed();
  if (os().bind(descriptor, reinterpret_cast<const sockaddr*>(&name), size) < 0) return "local";
  return nullptr;
}

}  // namespace eddy::detail
