// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/connect.h>

#include <cerrno>
#include <utility>
#include <vector>

#include <sys/socket.h>

#include <eddy/future/as_result.h>
#include <eddy/future/detail/current_loop.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/net/detail/open_socket.h>
#include <eddy/net/detail/operation.h>
#include <eddy/net/detail/options.h>
#include <eddy/net/detail/stream_access.h>
#include <eddy/net/detail/system.h>
#include <eddy/net/resolve.h>

namespace eddy {

namespace {

using detail::failure;
using detail::os;
using connection = detail::reported<tcp_stream>;

std::error_code last_error() noexcept { return {errno, std::generic_category()}; }

struct attempt {
  detail::socket_owner socket;
  bool under_way = false;
};

/// Makes a socket and has it connect, which takes its time.
result<attempt> begin(event_loop& loop, const address& to) {
  sockaddr_storage name;
  const socklen_t size = to.to(name);
  if (size == 0) return std::unexpected(std::make_error_code(std::errc::invalid_argument));
  const int descriptor = os().socket(name.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return std::unexpected(last_error());
  attempt a;
  const int done = os().connect(descriptor, reinterpret_cast<const sockaddr*>(&name), size);
  // An interrupted connect goes on, too.
  a.under_way = done < 0 && (errno == EINPROGRESS || errno == EINTR);
  if (done < 0 && !a.under_way) {
    const std::error_code error = last_error();
    os().close(descriptor);
    return std::unexpected(error);
  }
  try {
    a.socket = detail::socket_owner(detail::open_socket::make(loop, descriptor, to));
  } catch (const std::system_error& e) {
    return std::unexpected(e.code());
  }
  return a;
}

/// Whether a socket is connected to itself. That happens to a connect to a port of this machine at
/// which nobody listens, when the kernel chooses that port for this end, too.
bool met_itself(const detail::open_socket& socket) {
  try {
    const address own = detail::local_name(socket.descriptor());
    // The kernel has an address of its own for 0.0.0.0 and its like, but not for the port.
    return own.port() == socket.name().port() && own == detail::peer_name(socket.descriptor());
  } catch (const std::system_error&) {
    return false;
  }
}

/// Has a socket free its port as soon as it is closed, and not keep it for a minute.
void leave_port(const detail::open_socket& socket) noexcept {
  const linger reset{.l_onoff = 1, .l_linger = 0};
  os().set_option(socket.descriptor(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

task<connection> connect_to(address to) {
  result<attempt> begun = begin(detail::current_loop("connect"), to);
  if (!begun) co_return std::unexpected(failure(begun.error(), "connect to " + to.to_string()));
  detail::open_socket& socket = *begun->socket.get();
  if (begun->under_way) {
    detail::to_await<detail::connect_call> wait(socket, detail::connect_call());
    const result<void> ended = co_await as_result(std::move(wait));
    if (!ended) co_return std::unexpected(failure(ended.error(), "connect to " + to.to_string()));
  }
  if (met_itself(socket)) {
    leave_port(socket);
    co_return std::unexpected(failure(std::make_error_code(std::errc::connection_refused),
                                      "connect to " + to.to_string()));
  }
  co_return detail::stream_access::make(std::move(begun->socket));
}

task<connection> connect_by_name(std::string host, std::uint16_t port) {
  std::string doing = "connect to " + detail::visible(host) + ':' + std::to_string(port);
  auto found = co_await detail::resolve_steps(std::move(host), port);
  if (!found) co_return std::unexpected(failure(found.error().error, std::move(doing)));
  const std::vector<address> all = std::move(*found);
  std::string tried;
  std::error_code last;
  for (const address& to : all) {
    connection made = co_await connect_to(to);
    if (made) co_return made;
    // The last one's error follows the whole sentence.
    if (!tried.empty()) tried += " (" + last.message() + "), ";
    tried += to.to_string();
    last = made.error().error;
  }
  if (all.size() > 1 || doing != "connect to " + tried) doing += ", tried " + tried;
  co_return std::unexpected(failure(last, std::move(doing)));
}

}  // namespace

detail::steps_operation<tcp_stream> connect(const address& to) {
  return detail::steps_operation(connect_to(to));
}

detail::steps_operation<tcp_stream> connect(std::string host, std::uint16_t port) {
  return detail::steps_operation(connect_by_name(std::move(host), port));
}

pending connect(event_loop& loop, const address& to,
                handler<void(result<tcp_stream>)> on_connected) {
  detail::expect_handler(on_connected, "connect");
  return detail::delivery<tcp_stream>::start(loop, connect_to(to), std::move(on_connected));
}

pending connect(event_loop& loop, std::string host, std::uint16_t port,
                handler<void(result<tcp_stream>)> on_connected) {
  detail::expect_handler(on_connected, "connect");
  return detail::delivery<tcp_stream>::start(loop, connect_by_name(std::move(host), port),
                                             std::move(on_connected));
}

}  // namespace eddy
