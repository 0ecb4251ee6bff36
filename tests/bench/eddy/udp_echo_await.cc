// SPDX-License-Identifier: BSD-2-Clause
#include <vector>

#include <eddy/future/block_on.h>
#include <eddy/net/udp_socket.h>

#include "bench/echo.h"
#include "bench/eddy/udp_batch.h"

namespace {

eddy::task<> echo(eddy::udp_socket& socket, bench::udp_batch& batch) {
  for (;;) {
    const std::size_t count = co_await socket.receive_many(batch.incoming());
    const auto answers = batch.answers(count);
    co_await socket.send_many(answers);
  }
}

}  // namespace

int main(int count, char** words) {
  const auto arguments = bench::echo_main(count, words);
  eddy::event_loop loop;
  eddy::udp_socket socket(loop, eddy::address::loopback_v4(arguments.port));
  bench::udp_batch batch(arguments.buffer);
  bench::tell_ready(socket.local_address().port());
  eddy::block_on(loop, echo(socket, batch));
}
