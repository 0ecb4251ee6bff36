// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/socket_options.h>

#include <algorithm>
#include <array>

#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/net/detail/options.h>
#include <eddy/net/detail/system.h>

namespace eddy {

namespace option {

// The kernel keeps one flag for both families, so the IPv4 names of `transparent` and `freebind`
// serve IPv6 sockets, too.
const socket_option<bool> reuse_address{SOL_SOCKET, SO_REUSEADDR, "reuse_address"};
const socket_option<bool> reuse_port{SOL_SOCKET, SO_REUSEPORT, "reuse_port"};
const socket_option<bool> ipv6_only{IPPROTO_IPV6, IPV6_V6ONLY, "ipv6_only"};
const socket_option<std::string> device{SOL_SOCKET, SO_BINDTODEVICE, "device"};
const socket_option<std::uint32_t> mark{SOL_SOCKET, SO_MARK, "mark"};
const socket_option<bool> transparent{IPPROTO_IP, IP_TRANSPARENT, "transparent"};
const socket_option<bool> freebind{IPPROTO_IP, IP_FREEBIND, "freebind"};
const socket_option<std::size_t> send_buffer{SOL_SOCKET, SO_SNDBUF, "send_buffer"};
const socket_option<std::size_t> receive_buffer{SOL_SOCKET, SO_RCVBUF, "receive_buffer"};
const socket_option<std::chrono::milliseconds> user_timeout{IPPROTO_TCP, TCP_USER_TIMEOUT,
                                                            "user_timeout"};
const socket_option<bool> broadcast{SOL_SOCKET, SO_BROADCAST, "broadcast"};

}  // namespace option

namespace detail {

namespace {

template <class T>
void set_raw(int descriptor, const socket_option<T>& which, const void* value, std::size_t size) {
  if (os().set_option(descriptor, which.level, which.number, value, static_cast<socklen_t>(size)) <
      0) {
    throw_errno(text({"setting the option ", which.name}));
  }
}

template <class T>
socklen_t get_raw(int descriptor, const socket_option<T>& which, void* value, std::size_t size) {
  auto length = static_cast<socklen_t>(size);
  if (os().get_option(descriptor, which.level, which.number, value, &length) < 0) {
    throw_errno(text({"asking for the option ", which.name}));
  }
  return length;
}

template <class T>
int get_int(int descriptor, const socket_option<T>& which) {
  int value = 0;
  get_raw(descriptor, which, &value, sizeof value);
  return value;
}

}  // namespace

void set_value(int descriptor, const socket_option<bool>& which, bool value) {
  const int number = value ? 1 : 0;
  set_raw(descriptor, which, &number, sizeof number);
}

void set_value(int descriptor, const socket_option<std::uint32_t>& which, std::uint32_t value) {
  set_raw(descriptor, which, &value, sizeof value);
}

void set_value(int descriptor, const socket_option<std::size_t>& which, std::size_t value) {
  const int number = as_int(value);
  set_raw(descriptor, which, &number, sizeof number);
}

void set_value(int descriptor, const socket_option<std::chrono::milliseconds>& which,
               std::chrono::milliseconds value) {
  const int number = as_int(value.count());
  set_raw(descriptor, which, &number, sizeof number);
}

void set_value(int descriptor, const socket_option<std::string>& which, std::string_view value) {
  if (set_device(descriptor, value) < 0) throw_errno(text({"setting the option ", which.name}));
}

bool value_of(int descriptor, const socket_option<bool>& which) {
  return get_int(descriptor, which) != 0;
}

std::uint32_t value_of(int descriptor, const socket_option<std::uint32_t>& which) {
  return static_cast<std::uint32_t>(get_int(descriptor, which));
}

std::size_t value_of(int descriptor, const socket_option<std::size_t>& which) {
  return static_cast<std::size_t>(get_int(descriptor, which));
}

std::chrono::milliseconds value_of(int descriptor,
                                   const socket_option<std::chrono::milliseconds>& which) {
  return std::chrono::milliseconds(get_int(descriptor, which));
}

std::string value_of(int descriptor, const socket_option<std::string>& which) {
  std::array<char, IF_NAMESIZE> name{};
  const std::size_t size = get_raw(descriptor, which, name.data(), name.size());
  const std::string_view all(name.data(), std::min(size, name.size()));
  return std::string(all.substr(0, all.find('\0')));
}

}  // namespace detail

}  // namespace eddy
