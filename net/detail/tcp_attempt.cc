// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/tcp_attempt.h>

#include <cerrno>
#include <utility>

#include <sys/socket.h>

#include <eddy/loop/detail/text.h>
#include <eddy/net/detail/open_socket.h>
#include <eddy/net/detail/options.h>
#include <eddy/net/detail/socket_setup.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

namespace {

auto failed(int error, const char* option = nullptr) noexcept {
  return std::unexpected(failed_attempt({error, std::generic_category()}, option));
}

/// Has the kernel free a socket's port as soon as it is closed, instead of after a minute.
void free_port_on_close(const open_socket& socket) noexcept {
  const linger reset{.l_onoff = 1, .l_linger = 0};
  os().set_option(socket.descriptor(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

}  // namespace

std::expected<tcp_attempt, failed_attempt> begin_connect(event_loop& loop, const address& to,
                                                         const socket_options& how) {
  sockaddr_storage name;
  const socklen_t size = to.to(name);
  if (size == 0) return failed(EINVAL);
  socket_descriptor descriptor(
      os().socket(name.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (descriptor.number() < 0) return failed(errno);
  const char* refused = set_up(descriptor.number(), name.ss_family, socket_use::connection, how);
  if (refused == nullptr) refused = bind_local(descriptor.number(), how);
  if (refused != nullptr) return failed(errno, refused);
  tcp_attempt begun;
  const int done =
      os().connect(descriptor.number(), reinterpret_cast<const sockaddr*>(&name), size);
  // A connect that a signal interrupted goes on, too.
  begun.under_way = done < 0 && (errno == EINPROGRESS || errno == EINTR);
  if (done < 0 && !begun.under_way) return failed(errno);
  begun.socket = stream_socket(*open_socket::make(loop, descriptor.number(), to));
  static_cast<void>(descriptor.release());  // the open socket's now
  return begun;
}

bool met_itself(const open_socket& socket) {
  try {
    const address own = local_name(socket.descriptor());
    // The kernel replaces the address 0.0.0.0 or ::, but keeps the port.
    if (own.port() != socket.name().port() || own != peer_name(socket.descriptor())) return false;
  } catch (const std::system_error&) {
    return false;
  }
  free_port_on_close(socket);
  return true;
}

std::string words_of_attempt(const address& to, const char* option) {
  return option == nullptr ? to.to_string() : text({to.to_string(), ", option ", option});
}

}  // namespace eddy::detail
