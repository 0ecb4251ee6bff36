// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/event_loop.h>
#include <eddy/net/udp_socket.h>

#include "bench/echo.h"
#include "bench/eddy/udp_batch.h"

namespace {

class echo_server {
public:
  echo_server(eddy::event_loop& loop, const bench::echo_arguments& a)
      : socket_(loop, eddy::address::loopback_v4(a.port)), batch_(a.buffer) {
    bench::tell_ready(socket_.local_address().port());
    receive();
  }

private:
  void receive() {
    socket_.receive_many(batch_.incoming(), [this](eddy::result<std::size_t> count) {
      send(batch_.answers(count.value()));
    });
  }
  void send(std::span<const eddy::outgoing_datagram> answers) {
    socket_.send_many(answers, [this](const eddy::result<std::size_t>&) { receive(); });
  }

  eddy::udp_socket socket_;
  bench::udp_batch batch_;
};

}  // namespace

int main(int count, char** words) {
  eddy::event_loop loop;
  const echo_server server(loop, bench::echo_main(count, words));
  loop.run();
}
