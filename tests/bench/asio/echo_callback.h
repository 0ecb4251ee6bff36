// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// Boost.Asio, after its example of an asynchronous TCP echo server.

#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/asio.hpp>

#include "bench/echo.h"

namespace bench {

using boost::asio::ip::tcp;
using boost::system::error_code;

template <class Socket>
class session : public std::enable_shared_from_this<session<Socket>> {
public:
  session(Socket s, std::size_t buffer) : socket_(std::move(s)), data_(buffer) {}

  void read() {
    socket_.async_read_some(
        boost::asio::buffer(data_),
        [this, self = this->shared_from_this()](const error_code& error, std::size_t size) {
          if (!error) write(size);
        });
  }

private:
  void write(std::size_t size) {
    boost::asio::async_write(
        socket_, boost::asio::buffer(data_.data(), size),
        [this, self = this->shared_from_this()](const error_code& error, std::size_t) {
          if (!error) read();
        });
  }

  Socket socket_;
  std::vector<char> data_;
};

template <class Protocol>
void accept(boost::asio::basic_socket_acceptor<Protocol>& acceptor, std::size_t buffer) {
  using socket = typename Protocol::socket;
  acceptor.async_accept([&acceptor, buffer](const error_code& error, socket s) {
    if (!error) {
      if constexpr (std::is_same_v<Protocol, tcp>) s.set_option(tcp::no_delay(true));
      std::make_shared<session<socket>>(std::move(s), buffer)->read();
    }
    accept(acceptor, buffer);
  });
}

}  // namespace bench
