// SPDX-License-Identifier: BSD-2-Clause
#include "bench/asio/echo_await.h"

int main(int count, char** words) {
  using boost::asio::ip::tcp;
  const auto arguments = bench::echo_main(count, words);
  boost::asio::io_context loop(1);
  tcp::acceptor acceptor(loop, {boost::asio::ip::address_v4::loopback(), arguments.port});
  acceptor.listen(bench::backlog);
  bench::tell_ready(acceptor.local_endpoint().port());
  boost::asio::co_spawn(loop, bench::serve(acceptor, arguments.buffer), boost::asio::detached);
  loop.run();
}
