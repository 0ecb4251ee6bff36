// SPDX-License-Identifier: BSD-2-Clause
// Boost.Asio, after its example of an echo server with coroutines.
#include <exception>
#include <utility>
#include <vector>

#include <boost/asio.hpp>

#include "bench/echo.h"

namespace {

using boost::asio::awaitable;
using boost::asio::use_awaitable;
using boost::asio::ip::tcp;

awaitable<void> echo(tcp::socket socket, std::size_t buffer) {
  try {
    std::vector<char> data(buffer);
    for (;;) {
      const std::size_t size =
          co_await socket.async_read_some(boost::asio::buffer(data), use_awaitable);
      co_await boost::asio::async_write(socket, boost::asio::buffer(data.data(), size),
                                        use_awaitable);
    }
  } catch (const std::exception&) {
    // The peer has closed the connection.
  }
}

awaitable<void> listen(tcp::acceptor& acceptor, std::size_t buffer) {
  for (;;) {
    tcp::socket socket = co_await acceptor.async_accept(use_awaitable);
    socket.set_option(tcp::no_delay(true));
    boost::asio::co_spawn(acceptor.get_executor(), echo(std::move(socket), buffer),
                          boost::asio::detached);
  }
}

}  // namespace

int main(int count, char** words) {
  const auto arguments = bench::echo_main(count, words);
  boost::asio::io_context loop(1);
  tcp::acceptor acceptor(loop, {boost::asio::ip::address_v4::loopback(), arguments.port});
  acceptor.listen(bench::backlog);
  bench::tell_ready(acceptor.local_endpoint().port());
  boost::asio::co_spawn(loop, listen(acceptor, arguments.buffer), boost::asio::detached);
  loop.run();
}
