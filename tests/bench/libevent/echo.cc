// SPDX-License-Identifier: BSD-2-Clause
// libevent, after the echo server in its book: a bufferevent per connection.
#include "bench/echo.h"

#include <csignal>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

namespace {

std::size_t most = 0;

void on_read(bufferevent* connection, void*) {
  evbuffer_add_buffer(bufferevent_get_output(connection), bufferevent_get_input(connection));
}

void end(bufferevent* connection, void*) { bufferevent_free(connection); }

void on_event(bufferevent* connection, short what, void*) {
  const bool owes = evbuffer_get_length(bufferevent_get_output(connection)) > 0;
  if ((what & BEV_EVENT_EOF) == 0 || !owes) return end(connection, nullptr);
  bufferevent_setcb(connection, nullptr, end, on_event, nullptr);
}

void on_connection(evconnlistener* listener, evutil_socket_t s, sockaddr*, int, void*) {
  bench::set_no_delay(static_cast<int>(s));
  bufferevent* const connection =
      bufferevent_socket_new(evconnlistener_get_base(listener), s, BEV_OPT_CLOSE_ON_FREE);
  bufferevent_set_max_single_read(connection, most);
  bufferevent_setcb(connection, on_read, nullptr, on_event, nullptr);
  bufferevent_enable(connection, EV_READ | EV_WRITE);
}

}  // namespace

int main(int count, char** words) {
  const auto arguments = bench::echo_main(count, words);
  most = arguments.buffer;
  std::signal(SIGPIPE, SIG_IGN);  // libevent leaves SIGPIPE to the program
  event_base* const base = event_base_new();
  const int s = bench::listen_at(arguments);
  evconnlistener_new(base, on_connection, nullptr, LEV_OPT_CLOSE_ON_FREE, 0, s);
  event_base_dispatch(base);
}
