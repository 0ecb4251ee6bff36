// SPDX-License-Identifier: BSD-2-Clause
#include "bench/eddy/echo_callback.h"

int main(int count, char** words) {
  const auto arguments = bench::echo_main(count, words);
  eddy::event_loop loop;
  const bench::echo_server server(loop, arguments);
  loop.run();
}
