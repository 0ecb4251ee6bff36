// SPDX-License-Identifier: BSD-2-Clause
#include "bench/eddy/echo_callback.h"
#include "bench/eddy/unix_listener_at.h"

int main(int count, char** words) {
  const auto arguments = bench::unix_echo_main(count, words);
  eddy::event_loop loop;
  const bench::basic_echo_server<eddy::unix_listener, eddy::unix_stream, bench::no_timeout> server(
      bench::unix_listener_at(loop, arguments), arguments.buffer);
  loop.run();
}
