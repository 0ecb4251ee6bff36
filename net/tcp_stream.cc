// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/tcp_stream.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <eddy/net/detail/adopt.h>
#include <eddy/net/detail/options.h>

namespace eddy {

namespace {

using detail::as_int;
using detail::set_option;

constexpr const char* keeping_alive = "setting keep-alive";

}  // namespace

tcp_stream::tcp_stream(event_loop& loop, int descriptor)
    : socket_stream(detail::expect_connected(loop, detail::adopt_tcp(descriptor, "a tcp_stream"),
                                             "a tcp_stream")) {}

const address& tcp_stream::peer_address() const noexcept { return socket().name(); }

address tcp_stream::local_address() const { return detail::local_name(descriptor()); }

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

void tcp_stream::set_linger(std::optional<std::chrono::seconds> time) {
  ::linger value{};
  value.l_onoff = time ? 1 : 0;
  value.l_linger = time ? as_int(time->count()) : 0;
  set_option(descriptor(), SOL_SOCKET, SO_LINGER, value, "setting linger");
}

}  // namespace eddy
