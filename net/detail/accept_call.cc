// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/accept_call.h>

#include <cerrno>
#include <new>

#include <sys/socket.h>

#include <eddy/net/detail/listening_socket.h>
#include <eddy/net/detail/stream_access.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

namespace {

bool system_is_short(int error) noexcept {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/// Whether accept reports what has happened to one connection, which is gone.
bool only_that_connection(int error) noexcept {
  switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:  // a firewall's word
    case ENETDOWN:
    case ENETUNREACH:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
    case ETIMEDOUT: return true;
    default: return false;
  }
}

}  // namespace

std::optional<int> accept_call::attempt_without_hold(open_socket& socket) {
  auto& listener = static_cast<listening_socket&>(socket);
  listening_socket::connection& next = listener.accepted();
  if (next.descriptor < 0) {
    sockaddr_storage storage;
    socklen_t size = sizeof storage;
    auto* const peer = reinterpret_cast<sockaddr*>(&storage);
    const int descriptor =
        os().accept(socket.descriptor(), peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor < 0) {
      const int error = errno;
      socket.set_exhausted(which, true);
      if (error == EAGAIN) {
        listener.none_waits();
        return std::nullopt;
      }
      // After a connection that failed, the loop tells whether there is another.
      if (!only_that_connection(error)) return error;
      listener.connection_failed();
      return std::nullopt;
    }
    socket.set_exhausted(which, false);
    listener.connection_came(descriptor);
    next = {descriptor, address::from(peer, size)};
  } else {
    listener.renumber_accepted();
  }
  try {
    accepted_ = stream_access::make(
        socket_owner(open_socket::adopt(socket.loop(), next.descriptor, next.peer)));
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  }
  next.descriptor = -1;
  return 0;
}

std::optional<int> accept_call::attempt(open_socket& socket) {
  auto& listener = static_cast<listening_socket&>(socket);
  if (listener.accepted().descriptor < 0 && !listener.may_accept() && listener.hold()) {
    return std::nullopt;
  }
  const std::optional<int> outcome = attempt_without_hold(socket);
  const bool kernels = listener.accepted().descriptor < 0;
  if (outcome && kernels && system_is_short(*outcome) && listener.hold()) return std::nullopt;
  return outcome;
}

}  // namespace eddy::detail
