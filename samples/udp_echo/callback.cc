// SPDX-License-Identifier: BSD-2-Clause
//
// A UDP server that sends back each datagram that it receives, from the address to which the
// datagram was sent. Each handler starts the next operation. await.cc does the same with a
// coroutine.
//
//   ./samples/run udp_echo callback --listen 127.0.0.1:7000
//   socat - UDP:127.0.0.1:7000

#include <memory>
#include <system_error>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer.h>
#include <eddy/net/udp_socket.h>

#include "../daemon/daemon.h"
#include "batch.h"

namespace {

class echo_server {
public:
  echo_server(eddy::event_loop& loop, const eddy::address& at)
      : socket_(loop, at, {.destination = true}), pause_(loop) {
    serve();
  }

  [[nodiscard]] eddy::address address() const { return socket_.local_address(); }

  /// Stops receiving. The datagrams that were received are still sent back.
  void stop() {
    stopping_ = true;
    pause_.stop();
    socket_.stop_receiving();
  }
  void kill() { socket_.close(); }
  [[nodiscard]] census count() const { return {0, batch_->size()}; }

private:
  void serve() {
    if (stopping_) return;
    socket_.receive_many(batch_->incoming(), [this](eddy::result<std::size_t> count) {
      if (count) {
        batch_->answer(*count);
        send_back();
      } else {
        print_error("udp_echo: cannot receive: %s", count.error().message().c_str());
        pause_.start(accept_pause, [this] { serve(); });
      }
    });
  }

  /// Sends all answers. A refused answer, such as an answer to a forged address, is dropped.
  void send_back() {
    if (batch_->outgoing().empty()) return serve();
    socket_.send_many(batch_->outgoing(), [this](eddy::result<std::size_t> sent) {
      if (!sent) print_error("udp_echo: cannot send: %s", sent.error().message().c_str());
      batch_->remove(sent ? *sent : 1);
      send_back();
    });
  }

  eddy::udp_socket socket_;
  eddy::timer pause_;
  std::unique_ptr<batch> batch_ = std::make_unique<batch>();  // 2 MiB
  bool stopping_ = false;
};

}  // namespace

int main(int argc, char** argv) { return run_server<echo_server>("udp_echo", argc, argv); }
