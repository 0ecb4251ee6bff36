// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/connect.h>

#include <cerrno>
#include <utility>
#include <vector>

#include <sys/socket.h>

#include <eddy/future/as_result.h>
#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/net/detail/open_socket.h>
#include <eddy/net/detail/operation.h>
#include <eddy/net/detail/options.h>
#include <eddy/net/detail/socket_setup.h>
#include <eddy/net/detail/stream_access.h>
#include <eddy/net/detail/stream_socket.h>
#include <eddy/net/detail/system.h>
#include <eddy/net/resolve.h>

namespace eddy {

namespace {

using detail::failure;
using detail::os;
using connection = detail::reported<tcp_stream>;

std::error_code last_error() noexcept { return {errno, std::generic_category()}; }

struct attempt {
  detail::stream_socket socket;
  bool under_way = false;
};

/// Makes a socket and starts to connect it.
///
/// If an option was refused, `refused` becomes its name.
result<attempt> begin(event_loop& loop, const address& to, const socket_options& how,
                      const char*& refused) {
  sockaddr_storage name;
  const socklen_t size = to.to(name);
  if (size == 0) return std::unexpected(std::make_error_code(std::errc::invalid_argument));
  detail::socket_descriptor descriptor(
      os().socket(name.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (descriptor.number() < 0) return std::unexpected(last_error());
  refused =
      detail::set_up(descriptor.number(), name.ss_family, detail::socket_use::connection, how);
  if (refused == nullptr) refused = detail::bind_local(descriptor.number(), how);
  if (refused != nullptr) return std::unexpected(last_error());
  attempt a;
  const int done =
      os().connect(descriptor.number(), reinterpret_cast<const sockaddr*>(&name), size);
  // A connect that a signal interrupted goes on, too.
  a.under_way = done < 0 && (errno == EINPROGRESS || errno == EINTR);
  if (done < 0 && !a.under_way) return std::unexpected(last_error());
  a.socket = detail::stream_socket(*detail::open_socket::make(loop, descriptor.number(), to));
  static_cast<void>(descriptor.release());  // the open socket's now
  return a;
}

/// Whether a socket is connected to itself. That happens to a connect to a local port without a
/// listener, if the kernel chooses the same port for this end.
bool connected_to_itself(const detail::open_socket& socket) {
  try {
    const address own = detail::local_name(socket.descriptor());
    // The kernel replaces the address 0.0.0.0 or ::, but keeps the port.
    return own.port() == socket.name().port() && own == detail::peer_name(socket.descriptor());
  } catch (const std::system_error&) {
    return false;
  }
}

/// Has the kernel free a socket's port as soon as it is closed, instead of after a minute.
void free_port_on_close(const detail::open_socket& socket) noexcept {
  const linger reset{.l_onoff = 1, .l_linger = 0};
  os().set_option(socket.descriptor(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

task<connection> connect_to(address to, socket_options how) {
  const char* refused = nullptr;
  result<attempt> begun = begin(detail::current_loop("connect"), to, how, refused);
  if (!begun) {
    std::string doing = "connect to " + to.to_string();
    if (refused != nullptr) doing.append(", option ").append(refused);
    co_return std::unexpected(failure(begun.error(), std::move(doing)));
  }
  detail::open_socket& socket = *begun->socket.get();
  if (begun->under_way) {
    detail::operation_awaitable<detail::connect_call> wait(socket, detail::connect_call());
    const result<void> ended = co_await as_result(std::move(wait));
    if (!ended) co_return std::unexpected(failure(ended.error(), "connect to " + to.to_string()));
  }
  if (connected_to_itself(socket)) {
    free_port_on_close(socket);
    co_return std::unexpected(failure(std::make_error_code(std::errc::connection_refused),
                                      "connect to " + to.to_string()));
  }
  co_return detail::stream_access::make<tcp_stream>(std::move(begun->socket));
}

task<connection> connect_by_name(std::string host, std::uint16_t port, socket_options how) {
  std::string doing = "connect to " + detail::visible(host) + ':' + std::to_string(port);
  auto found = co_await detail::resolve_steps(std::move(host), port);
  if (!found) co_return std::unexpected(failure(found.error().error, std::move(doing)));
  const std::vector<address> all = std::move(*found);
  std::string tried;
  std::error_code last;
  for (const address& to : all) {
    connection made = co_await connect_to(to, how);
    if (made) co_return made;
    // The error of the last address follows the whole sentence.
    if (!tried.empty()) tried += " (" + last.message() + "), ";
    tried += to.to_string();
    last = made.error().error;
  }
  if (all.size() > 1 || doing != "connect to " + tried) doing += ", tried " + tried;
  co_return std::unexpected(failure(last, std::move(doing)));
}

}  // namespace

detail::steps_operation<tcp_stream> connect(const address& to, const socket_options& how) {
  return detail::steps_operation(connect_to(to, how));
}

detail::steps_operation<tcp_stream> connect(std::string host, std::uint16_t port,
                                            const socket_options& how) {
  return detail::steps_operation(connect_by_name(std::move(host), port, how));
}

pending_operation connect(event_loop& loop, const address& to,
                          handler<void(result<tcp_stream>)> on_connected) {
  return connect(loop, to, socket_options(), std::move(on_connected));
}

pending_operation connect(event_loop& loop, const address& to, const socket_options& how,
                          handler<void(result<tcp_stream>)> on_connected) {
  detail::expect_handler(on_connected, "connect");
  return detail::delivery<tcp_stream>::start(loop, connect_to(to, how), std::move(on_connected));
}

pending_operation connect(event_loop& loop, std::string host, std::uint16_t port,
                          handler<void(result<tcp_stream>)> on_connected) {
  return connect(loop, std::move(host), port, socket_options(), std::move(on_connected));
}

pending_operation connect(event_loop& loop, std::string host, std::uint16_t port,
                          const socket_options& how,
                          handler<void(result<tcp_stream>)> on_connected) {
  detail::expect_handler(on_connected, "connect");
  return detail::delivery<tcp_stream>::start(loop, connect_by_name(std::move(host), port, how),
                                             std::move(on_connected));
}

}  // namespace eddy
