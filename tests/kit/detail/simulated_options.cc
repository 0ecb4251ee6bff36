// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/testing/detail/simulated_options.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstddef>
#include <cstring>
#include <string>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <eddy/testing/detail/simulated_streams.h>

namespace eddy::detail {

namespace {

/// An option that is kept and changes nothing, and the values that the kernel takes for it.
struct kept_option {
  int level;
  int name;
  int least = INT_MIN;
  int most = INT_MAX;
};

// The ranges are those of Linux: tcp(7), MAX_TCP_KEEPIDLE and its neighbours.
constexpr std::array kept{
    kept_option{SOL_SOCKET, SO_KEEPALIVE},
    kept_option{SOL_SOCKET, SO_MARK},
    kept_option{IPPROTO_TCP, TCP_NODELAY},
    kept_option{IPPROTO_TCP, TCP_KEEPIDLE, 1, 32767},
    kept_option{IPPROTO_TCP, TCP_KEEPINTVL, 1, 32767},
    kept_option{IPPROTO_TCP, TCP_KEEPCNT, 1, 127},
    kept_option{IPPROTO_IP, IP_FREEBIND},
    kept_option{IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT},
};

const kept_option* find_kept(int level, int name) noexcept {
  const auto* const found = std::ranges::find_if(
      kept, [&](const kept_option& o) { return o.level == level && o.name == name; });
  return found == kept.end() ? nullptr : &*found;
}

// As in Linux: the kernel doubles the size, and has least sizes (socket(7)).
constexpr int least_send_buffer = 4608;
constexpr int least_receive_buffer = 2304;

std::size_t buffer_of(int wanted, int least) noexcept {
  return static_cast<std::size_t>(std::max(std::clamp(wanted, 0, INT_MAX / 2) * 2, least));
}

int put(const void* from, std::size_t size, void* value, socklen_t* space) noexcept {
  const std::size_t count = std::min(size, static_cast<std::size_t>(*space));
  std::memcpy(value, from, count);
  *space = static_cast<socklen_t>(count);
  return 0;
}

int put(int number, void* value, socklen_t* space) noexcept {
  return put(&number, sizeof number, value, space);
}

int set_of_socket(simulated_socket& socket, int name, int number, const void* value,
                  socklen_t size) noexcept {
  switch (name) {
    case SO_REUSEADDR: socket.reuse_address = number != 0; return 0;
    case SO_REUSEPORT: socket.reuse_port = number != 0; return 0;
    case SO_SNDBUF:
      socket.send_buffer = buffer_of(number, least_send_buffer);
      if (socket.connection != nullptr) socket.end().send_buffer = socket.send_buffer;
      return 0;
    case SO_RCVBUF:
      socket.receive_buffer = buffer_of(number, least_receive_buffer);
      if (socket.connection != nullptr) socket.end().receive_buffer = socket.receive_buffer;
      return 0;
    case SO_LINGER: {
      if (size < sizeof(linger)) return -EINVAL;
      linger how{};
      std::memcpy(&how, value, sizeof how);
      socket.resets_on_close = how.l_onoff != 0 && how.l_linger == 0;
      return 0;
    }
    default: return -EOPNOTSUPP;
  }
}

}  // namespace

int set_simulated_option(simulated_socket& socket, int level, int name, const void* value,
                         socklen_t size) {
  int number = 0;
  std::memcpy(&number, value, std::min(sizeof number, static_cast<std::size_t>(size)));
  if (const kept_option* const found = find_kept(level, name)) {
    if (number < found->least || number > found->most) return -EINVAL;
    socket.values[{level, name}].assign(static_cast<const char*>(value), size);
    return 0;
  }
  if (level == SOL_SOCKET) return set_of_socket(socket, name, number, value, size);
  if (level == IPPROTO_IPV6 && socket.family != AF_INET6) return -ENOPROTOOPT;
  if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY) {
    if (socket.bound || socket.is != simulated_socket::state::unconnected) return -EINVAL;
    socket.only_v6 = number != 0;
    return 0;
  }
  if (level == IPPROTO_TCP && name == TCP_USER_TIMEOUT) {
    socket.user_timeout.reset();
    if (number != 0) socket.user_timeout = std::chrono::milliseconds(number);
    return 0;
  }
  return -EOPNOTSUPP;
}

int get_simulated_option(simulated_socket& socket, int level, int name, void* value,
                         socklen_t* size) {
  if (find_kept(level, name) != nullptr) {
    const auto found = socket.values.find({level, name});
    if (found == socket.values.end()) return put(0, value, size);
    return put(found->second.data(), found->second.size(), value, size);
  }
  if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY && socket.family == AF_INET6) {
    return put(socket.only_v6 ? 1 : 0, value, size);
  }
  if (level == IPPROTO_TCP && name == TCP_USER_TIMEOUT) {
    using std::chrono::milliseconds;
    const auto time = socket.user_timeout.value_or(duration::zero());
    return put(static_cast<int>(std::chrono::duration_cast<milliseconds>(time).count()), value,
               size);
  }
  if (level != SOL_SOCKET) return -EOPNOTSUPP;
  switch (name) {
    case SO_ERROR: return put(simulated_streams::take_error(socket), value, size);
    case SO_TYPE: return put(socket.type, value, size);
    case SO_DOMAIN: return put(socket.family, value, size);
    case SO_PROTOCOL: return put(socket.family == AF_UNIX ? 0 : IPPROTO_TCP, value, size);
    case SO_ACCEPTCONN:
      return put(socket.is == simulated_socket::state::listening ? 1 : 0, value, size);
    case SO_REUSEADDR: return put(socket.reuse_address ? 1 : 0, value, size);
    case SO_REUSEPORT: return put(socket.reuse_port ? 1 : 0, value, size);
    case SO_SNDBUF: return put(static_cast<int>(socket.send_buffer), value, size);
    case SO_RCVBUF: return put(static_cast<int>(socket.receive_buffer), value, size);
    case SO_PEERCRED: {
      if (socket.family != AF_UNIX) return -EOPNOTSUPP;
      const ucred own{.pid = ::getpid(), .uid = ::getuid(), .gid = ::getgid()};
      return put(&own, sizeof own, value, size);
    }
    default: return -EOPNOTSUPP;
  }
}

}  // namespace eddy::detail
