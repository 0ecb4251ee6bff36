// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cerrno>
#include <climits>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <net/if.h>

#include <eddy/loop/detail/throw_error.h>
#include <eddy/net/address.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

/// The nearest number that an `int` and the kernel's options can hold, and not below zero.
[[nodiscard]] int as_int(auto number) noexcept {
  if (std::cmp_greater(number, INT_MAX)) return INT_MAX;
  return std::cmp_less(number, 0) ? 0 : static_cast<int>(number);
}

/// Sets an option of a socket. `doing` begins the error's text.
/// Errors: `std::system_error`.
template <class Value>
void set_option(int descriptor, int level, int name, const Value& value, const char* doing) {
  if (os().set_option(descriptor, level, name, &value, sizeof value) < 0) throw_errno(doing);
}

/// Binds a socket to a network interface, or to none if the name is empty.
/// Returns -1 and sets `errno` if it fails.
[[nodiscard]] inline int set_device(int descriptor, std::string_view name) noexcept {
  // The kernel reads a name up to a zero byte, and no more bytes than a name may have. It would
  // take another interface whose name is the beginning of this one.
  if (name.size() >= IF_NAMESIZE || name.contains('\0')) {
    errno = ENODEV;
    return -1;
  }
  return os().set_option(descriptor, SOL_SOCKET, SO_BINDTODEVICE, name.data(),
                         static_cast<socklen_t>(name.size()));
}

/// Returns an option of a socket. `doing` begins the error's text.
/// Errors: `std::system_error`.
[[nodiscard]] inline int get_option(int descriptor, int level, int name, const char* doing) {
  int value = 0;
  socklen_t size = sizeof value;
  if (os().get_option(descriptor, level, name, &value, &size) < 0) throw_errno(doing);
  return value;
}

/// The address to which a socket is bound.
/// Errors: `std::system_error`.
[[nodiscard]] inline address local_name(int descriptor) {
  sockaddr_storage name;
  socklen_t size = sizeof name;
  auto* const generic = reinterpret_cast<sockaddr*>(&name);
  if (os().local_name(descriptor, generic, &size) < 0) throw_errno("asking for a local address");
  return address::from(generic, size);
}

/// The address to which a socket is connected.
/// Errors: `std::system_error`.
[[nodiscard]] inline address peer_name(int descriptor) {
  sockaddr_storage name;
  socklen_t size = sizeof name;
  auto* const generic = reinterpret_cast<sockaddr*>(&name);
  if (os().peer_name(descriptor, generic, &size) < 0) throw_errno("asking for a peer's address");
  return address::from(generic, size);
}

}  // namespace eddy::detail
