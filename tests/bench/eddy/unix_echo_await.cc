// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/block_on.h>

#include "bench/eddy/echo_await.h"
#include "bench/eddy/unix_listener_at.h"

int main(int count, char** words) {
  const auto arguments = bench::unix_echo_main(count, words);
  eddy::event_loop loop;
  auto listener = bench::unix_listener_at(loop, arguments);
  bench::basic_echo_server<eddy::unix_stream> server(arguments.buffer);
  eddy::block_on(loop, server.run(listener, &bench::echo));
}
