// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/connect.h>

#include <algorithm>
#include <utility>

#include <eddy/future/as_result.h>
#include <eddy/future/timeout.h>
#include <eddy/loop/clock.h>
#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/net/detail/connect_steps.h>
#include <eddy/net/detail/open_socket.h>
#include <eddy/net/detail/operation.h>
#include <eddy/net/detail/stream_access.h>
#include <eddy/net/detail/stream_calls.h>
#include <eddy/net/detail/stream_socket.h>
#include <eddy/net/detail/tcp_attempt.h>

namespace eddy {

namespace {

using detail::failure;
using connection = detail::reported<tcp_stream>;

constexpr duration shortest_limit{1};

task<connection> connect_to(address to, socket_options how) {
  auto begun = detail::begin_connect(detail::current_loop("connect"), to, how);
  if (!begun) {
    const detail::failed_attempt& why = begun.error();
    co_return std::unexpected(
        failure(why.error, "connect to " + detail::words_of_attempt(to, why.option)));
  }
  detail::open_socket& socket = *begun->socket.get();
  if (begun->under_way) {
    detail::operation_awaitable<detail::connect_call> wait(socket, detail::connect_call());
    result<void> ended;
    if (how.address_limit) {
      // A `timeout` of zero would not look whether the connection has been made.
      const duration limit = std::max<duration>(time_span(*how.address_limit), shortest_limit);
      auto limited = as_result(timeout(limit, std::move(wait)));
      ended = co_await std::move(limited);
    } else {
      ended = co_await as_result(std::move(wait));
    }
    if (!ended) co_return std::unexpected(failure(ended.error(), "connect to " + to.to_string()));
  }
  if (detail::met_itself(socket)) {
    co_return std::unexpected(failure(std::make_error_code(std::errc::connection_refused),
                                      "connect to " + to.to_string()));
  }
  co_return detail::stream_access::make<tcp_stream>(std::move(begun->socket));
}

}  // namespace

detail::steps_operation<tcp_stream> connect(const address& to, const socket_options& how) {
  return detail::steps_operation(connect_to(to, how));
}

detail::steps_operation<tcp_stream> connect(std::string host, std::uint16_t port,
                                            const socket_options& how) {
  return detail::steps_operation(
      detail::connect_to_name(std::move(host), port, how, detail::dns_options()));
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
  return detail::delivery<tcp_stream>::start(
      loop, detail::connect_to_name(std::move(host), port, how, detail::dns_options()),
      std::move(on_connected));
}

}  // namespace eddy
