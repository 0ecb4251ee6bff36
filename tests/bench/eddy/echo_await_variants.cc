// SPDX-License-Identifier: BSD-2-Clause
#include <chrono>

#include <ev.h>

#include <eddy/future/block_on.h>
#include <eddy/loop/timer.h>

#include "bench/eddy/echo_await.h"
#include "bench/eddy/silent_library.h"

namespace {

constexpr std::chrono::seconds idle_time(bench::idle_seconds);

eddy::task<> echo_until_idle(bench::echo_server& server, eddy::tcp_stream stream) {
  eddy::timer idle(stream.loop());
  idle.start(idle_time, [&stream] { stream.close(); });
  for (;;) {
    const auto ready = co_await eddy::as_result(stream.wait_readable());
    if (!ready) break;
    idle.restart(idle_time);
    if (!server.read(stream)) break;
    if (!server.has_rest()) continue;
    const bool sent = co_await server.send_rest(stream);
    if (!sent) break;
  }
}

/// Runs the server on a libev loop that the program makes and runs.
void serve_on_adopted(const bench::echo_arguments& arguments) {
  struct ev_loop* const own = ev_default_loop(EVBACKEND_EPOLL);
  eddy::event_loop loop(own);
  auto listener = bench::tcp_listener_at(loop, arguments);
  bench::echo_server server(arguments.buffer);
  const eddy::future<> serving = eddy::spawn(loop, server.run(listener, &bench::echo));
  ev_run(own, 0);
}

void serve_with_library(const bench::echo_arguments& arguments) {
  eddy::event_loop loop;
  bench::silent_library library;
  library.start(loop.native());
  auto listener = bench::tcp_listener_at(loop, arguments);
  bench::echo_server server(arguments.buffer);
  eddy::block_on(loop, server.run(listener, &bench::echo));
}

void serve_with_timeouts(const bench::echo_arguments& arguments) {
  eddy::event_loop loop;
  auto listener = bench::tcp_listener_at(loop, arguments);
  bench::echo_server server(arguments.buffer);
  eddy::block_on(loop, server.run(listener, &echo_until_idle));
}

}  // namespace

int main(int count, char** words) {
  return bench::echo_variants_main(count, words, &serve_with_timeouts, &serve_on_adopted,
                                   &serve_with_library);
}
