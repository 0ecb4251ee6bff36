// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/accept_call.h>

#include <cerrno>
#include <new>

#include <sys/socket.h>

#include <eddy/net/detail/listening_socket.h>
#include <eddy/net/detail/stream_socket.h>
#include <eddy/net/detail/system.h>

namespace eddy::detail {

namespace {

bool system_is_short(int error) noexcept {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/// Whether accept reports the failure of one connection, and can go on with the next.
bool only_that_connection(int error) noexcept {
  switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:  // from a firewall
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

std::optional<int> accept_steps::attempt_without_pause(open_socket& socket) {
  listening_socket::connection& next = listener_->accepted();
  if (next.descriptor.number() < 0) {
    sockaddr_storage storage;
    socklen_t size = sizeof storage;
    auto* const peer = reinterpret_cast<sockaddr*>(&storage);
    const int descriptor =
        os().accept(socket.descriptor(), peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor < 0) {
      const int error = errno;
      socket.set_exhausted(which, true);
      if (error == EAGAIN) {
        listener_->queue_empty();
        return std::nullopt;
      }
      // After a failed connection, the next attempt waits until the loop reports another one.
      if (!only_that_connection(error)) return error;
      listener_->connection_failed();
      return std::nullopt;
    }
    socket.set_exhausted(which, false);
    listener_->connection_accepted(descriptor);
    next = {socket_descriptor(descriptor), address::from(peer, size)};
  } else {
    listener_->renumber_accepted();
  }
  try {
    accepted_ =
        stream_socket(*open_socket::make(socket.loop(), next.descriptor.number(), next.peer));
  } catch (const std::bad_alloc&) {
    return ENOMEM;
  }
  static_cast<void>(next.descriptor.release());  // the stream's now
  return 0;
}

std::optional<int> accept_steps::shed(open_socket& socket) {
  // Descriptors may have become free after so many connections.
  for (int i = 0; i < listening_socket::connections_per_limit_check; ++i) {
    const int error = listener_->shed_one();
    socket.set_exhausted(which, error != 0);
    if (error == EAGAIN) listener_->queue_empty();
    if (error != 0 && only_that_connection(error)) listener_->connection_failed();
    if (error != 0 && error != EAGAIN && !only_that_connection(error)) {
      if (system_is_short(error) && listener_->pause()) return std::nullopt;
      return error;
    }
    if (error != 0 || !socket.loop().may_go_on()) return std::nullopt;
  }
  return std::nullopt;
}

std::optional<int> accept_steps::attempt(open_socket& socket) {
  const auto kept = [this] { return listener_->accepted().descriptor.number() >= 0; };
  if (!kept() && !listener_->may_accept()) {
    if (listener_->sheds()) return shed(socket);
    if (listener_->pause()) return std::nullopt;
  }
  const std::optional<int> outcome = attempt_without_pause(socket);
  // With a kept connection, the program is short of memory and not the kernel: that is an error.
  if (!outcome || kept() || !system_is_short(*outcome)) return outcome;
  if (listener_->sheds() && (*outcome == EMFILE || *outcome == ENFILE)) return shed(socket);
  if (listener_->pause()) return std::nullopt;
  return outcome;
}

void accept_steps::wait(open_socket& socket, operation& op) noexcept {
  if (!listener_->paused()) socket.wait(which, op);
}

void accept_steps::cancelled() noexcept { listener_->end_pause(); }

}  // namespace eddy::detail
