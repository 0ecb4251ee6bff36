// SPDX-License-Identifier: BSD-2-Clause
// Boost.Asio, after its example of a UDP server.
#include <vector>

#include <boost/asio.hpp>

#include "bench/echo.h"

namespace {

using boost::asio::ip::udp;

class echo_server {
public:
  echo_server(boost::asio::io_context& loop, const bench::echo_arguments& a)
      : socket_(loop, udp::endpoint(boost::asio::ip::address_v4::loopback(), a.port)),
        data_(a.buffer) {
    bench::tell_ready(socket_.local_endpoint().port());
    receive();
  }

private:
  void receive() {
    socket_.async_receive_from(boost::asio::buffer(data_), sender_,
                               [this](boost::system::error_code error, std::size_t size) {
                                 if (error || size == 0) return receive();
                                 send(size);
                               });
  }
  void send(std::size_t size) {
    socket_.async_send_to(boost::asio::buffer(data_.data(), size), sender_,
                          [this](boost::system::error_code, std::size_t) { receive(); });
  }

  udp::socket socket_;
  udp::endpoint sender_;
  std::vector<char> data_;
};

}  // namespace

int main(int count, char** words) {
  const auto arguments = bench::echo_main(count, words);
  boost::asio::io_context loop(1);
  const echo_server server(loop, arguments);
  loop.run();
}
