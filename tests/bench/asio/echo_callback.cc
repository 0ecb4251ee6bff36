// SPDX-License-Identifier: BSD-2-Clause
// Boost.Asio, after its example of an asynchronous TCP echo server.
#include <memory>
#include <utility>
#include <vector>

#include <boost/asio.hpp>

#include "bench/echo.h"

namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;

class session : public std::enable_shared_from_this<session> {
public:
  session(tcp::socket s, std::size_t buffer) : socket_(std::move(s)), data_(buffer) {}

  void read() {
    socket_.async_read_some(
        boost::asio::buffer(data_),
        [this, self = shared_from_this()](const error_code& error, std::size_t size) {
          if (!error) write(size);
        });
  }

private:
  void write(std::size_t size) {
    boost::asio::async_write(
        socket_, boost::asio::buffer(data_.data(), size),
        [this, self = shared_from_this()](const error_code& error, std::size_t) {
          if (!error) read();
        });
  }

  tcp::socket socket_;
  std::vector<char> data_;
};

void accept(tcp::acceptor& acceptor, std::size_t buffer) {
  acceptor.async_accept([&acceptor, buffer](const error_code& error, tcp::socket s) {
    if (!error) {
      s.set_option(tcp::no_delay(true));
      std::make_shared<session>(std::move(s), buffer)->read();
    }
    accept(acceptor, buffer);
  });
}

}  // namespace

int main(int count, char** words) {
  const auto arguments = bench::echo_main(count, words);
  boost::asio::io_context loop(1);
  tcp::acceptor acceptor(loop, {boost::asio::ip::address_v4::loopback(), arguments.port});
  acceptor.listen(bench::backlog);
  bench::tell_ready(acceptor.local_endpoint().port());
  accept(acceptor, arguments.buffer);
  loop.run();
}
