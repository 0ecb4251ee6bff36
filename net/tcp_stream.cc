// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/tcp_stream.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <utility>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/net/detail/options.h>
#include <eddy/net/detail/system.h>

namespace eddy {

namespace {

using detail::callback_operation;
using detail::set_option;

/// Attempts a call once, for the forms that never wait.
template <class Call>
std::optional<result<typename Call::value>> once(detail::open_socket& socket, Call call) {
  if constexpr (Call::which == readiness::direction::write) {
    if (socket.shutdown_delayed())
      return std::unexpected(std::error_code(Call::after_shutdown, std::generic_category()));
  }
  socket.expect_free(Call::which, Call::busy);
  const std::optional<int> outcome = call.attempt(socket);
  if (!outcome) return std::nullopt;
  if (*outcome != 0) return std::unexpected(std::error_code(*outcome, std::generic_category()));
  return call.take();
}

int as_int(auto number) {
  if (std::cmp_greater(number, INT_MAX)) return INT_MAX;
  return std::cmp_less(number, 0) ? 0 : static_cast<int>(number);
}

constexpr const char* keeping_alive = "setting keep-alive";

}  // namespace

tcp_stream::tcp_stream(event_loop& loop, int descriptor) {
  detail::socket_descriptor own(descriptor);
  sockaddr_storage name;
  socklen_t size = sizeof name;
  auto* const generic = reinterpret_cast<sockaddr*>(&name);
  if (detail::os().set_non_blocking(descriptor) < 0 ||
      detail::os().peer_name(descriptor, generic, &size) < 0) {
    const std::error_code error(errno, std::generic_category());
    detail::throw_error(error, detail::text({"take over descriptor ", descriptor}));
  }
  socket_ = detail::stream_socket(
      *detail::open_socket::make(loop, descriptor, address::from(generic, size)));
  static_cast<void>(own.release());  // the open socket's now
}

void tcp_stream::not_open() noexcept {
  detail::misuse("a tcp_stream was used that is not open: it was closed, or moved from");
}

void tcp_stream::read(mutable_buffer into, handler<void(result<std::size_t>)> on_read) {
  detail::expect_handler(on_read, "tcp_stream::read");
  callback_operation<detail::read_call>::start(socket(), detail::read_call(into),
                                               std::move(on_read));
}

std::optional<result<std::size_t>> tcp_stream::try_read(mutable_buffer into) {
  return once(socket(), detail::read_call(into));
}

void tcp_stream::wait_readable(handler<void(result<void>)> on_readable) {
  detail::expect_handler(on_readable, "tcp_stream::wait_readable");
  using call = detail::wait_call<readiness::direction::read>;
  callback_operation<call>::start(socket(), call(), std::move(on_readable));
}

void tcp_stream::write(const_buffer bytes, handler<void(result<void>)> on_written) {
  detail::expect_handler(on_written, "tcp_stream::write");
  callback_operation<detail::write_call>::start(socket(), detail::write_call(bytes),
                                                std::move(on_written));
}

void tcp_stream::write(std::span<const const_buffer> buffers,
                       handler<void(result<void>)> on_written) {
  detail::expect_handler(on_written, "tcp_stream::write");
  callback_operation<detail::write_call>::start(socket(), detail::write_call(buffers),
                                                std::move(on_written));
}

std::optional<result<std::size_t>> tcp_stream::try_write(const_buffer bytes) {
  return once(socket(), detail::write_some_call(bytes));
}

void tcp_stream::wait_writable(handler<void(result<void>)> on_writable) {
  detail::expect_handler(on_writable, "tcp_stream::wait_writable");
  using call = detail::wait_call<readiness::direction::write>;
  callback_operation<call>::start(socket(), call(), std::move(on_writable));
}

void tcp_stream::shutdown() noexcept { socket().shutdown_writing(); }

void tcp_stream::shutdown_read() noexcept { socket().shutdown_reading(); }

address tcp_stream::local_address() const { return detail::local_name(descriptor()); }

std::error_code tcp_stream::take_error() noexcept {
  return {detail::connect_call().attempt(socket()).value_or(0), std::generic_category()};
}

void tcp_stream::set_no_delay(bool on) {
  set_option(descriptor(), IPPROTO_TCP, TCP_NODELAY, int{on}, "setting no-delay");
}

bool tcp_stream::no_delay() const {
  return detail::get_option(descriptor(), IPPROTO_TCP, TCP_NODELAY, "asking for no-delay") != 0;
}

void tcp_stream::set_keep_alive(const keep_alive_times& times) {
  constexpr std::chrono::seconds most{32767};  // tcp(7): the kernel refuses more
  const auto seconds = [most](std::chrono::seconds s) { return as_int(std::min(s, most).count()); };
  set_option(descriptor(), IPPROTO_TCP, TCP_KEEPIDLE, seconds(times.idle), keeping_alive);
  set_option(descriptor(), IPPROTO_TCP, TCP_KEEPINTVL, seconds(times.interval), keeping_alive);
  set_option(descriptor(), IPPROTO_TCP, TCP_KEEPCNT, times.probes, keeping_alive);
  set_keep_alive(true);
}

void tcp_stream::set_keep_alive(bool on) {
  set_option(descriptor(), SOL_SOCKET, SO_KEEPALIVE, int{on}, keeping_alive);
}

bool tcp_stream::keep_alive() const {
  return detail::get_option(descriptor(), SOL_SOCKET, SO_KEEPALIVE, "asking for keep-alive") != 0;
}

void tcp_stream::set_send_buffer(std::size_t size) {
  set_option(descriptor(), SOL_SOCKET, SO_SNDBUF, as_int(size), "setting the send buffer");
}

void tcp_stream::set_receive_buffer(std::size_t size) {
  set_option(descriptor(), SOL_SOCKET, SO_RCVBUF, as_int(size), "setting the receive buffer");
}

std::size_t tcp_stream::send_buffer() const {
  return static_cast<std::size_t>(
      detail::get_option(descriptor(), SOL_SOCKET, SO_SNDBUF, "asking for the send buffer"));
}

std::size_t tcp_stream::receive_buffer() const {
  return static_cast<std::size_t>(
      detail::get_option(descriptor(), SOL_SOCKET, SO_RCVBUF, "asking for the receive buffer"));
}

void tcp_stream::set_linger(std::optional<std::chrono::seconds> time) {
  ::linger value{};
  value.l_onoff = time ? 1 : 0;
  value.l_linger = time ? as_int(time->count()) : 0;
  set_option(descriptor(), SOL_SOCKET, SO_LINGER, value, "setting linger");
}

}  // namespace eddy
