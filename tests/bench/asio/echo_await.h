// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// Boost.Asio, after its example of an echo server with coroutines.

#include <exception>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/asio.hpp>

#include "bench/echo.h"

namespace bench {

using boost::asio::awaitable;
using boost::asio::use_awaitable;
using boost::asio::ip::tcp;

template <class Socket>
awaitable<void> echo(Socket socket, std::size_t buffer) {
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

template <class Protocol>
awaitable<void> serve(boost::asio::basic_socket_acceptor<Protocol>& acceptor, std::size_t buffer) {
  for (;;) {
    typename Protocol::socket socket = co_await acceptor.async_accept(use_awaitable);
    if constexpr (std::is_same_v<Protocol, tcp>) socket.set_option(tcp::no_delay(true));
    boost::asio::co_spawn(acceptor.get_executor(), echo(std::move(socket), buffer),
                          boost::asio::detached);
  }
}

}  // namespace bench
