// SPDX-License-Identifier: BSD-2-Clause
#include "bench/asio/echo_callback.h"

int main(int count, char** words) {
  using boost::asio::local::stream_protocol;
  const auto arguments = bench::unix_echo_main(count, words);
  boost::asio::io_context loop(1);
  stream_protocol::acceptor acceptor(loop, stream_protocol::endpoint(arguments.path));
  acceptor.listen(bench::backlog);
  bench::tell_ready(arguments.path);
  bench::accept(acceptor, arguments.buffer);
  loop.run();
}
