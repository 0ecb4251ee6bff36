// SPDX-License-Identifier: BSD-2-Clause
#include "bench/eddy/echo_await.h"

#include <eddy/future/block_on.h>

int main(int count, char** words) {
  const auto arguments = bench::echo_main(count, words);
  eddy::event_loop loop;
  auto listener = bench::tcp_listener_at(loop, arguments);
  bench::echo_server server(arguments.buffer);
  eddy::block_on(loop, server.run(listener, &bench::echo));
}
