// SPDX-License-Identifier: BSD-2-Clause
//
// A UDP server that sends back each datagram that it receives, from the address to which the
// datagram was sent. One coroutine serves all clients. callback.cc does the same with handlers.
//
//   ./samples/run udp_echo await --listen 127.0.0.1:7000
//   socat - UDP:127.0.0.1:7000

#include <exception>
#include <memory>
#include <system_error>

#include <eddy/future/as_result.h>
#include <eddy/future/scope.h>
#include <eddy/future/sleep.h>
#include <eddy/future/task.h>
#include <eddy/loop/event_loop.h>
#include <eddy/net/udp_socket.h>

#include "../daemon/daemon.h"
#include "batch.h"

namespace {

class echo_server {
public:
  echo_server(eddy::event_loop& loop, const eddy::address& at)
      : socket_(loop, at, {.destination = true}), serving_(loop) {
    serving_.on_error(&std::rethrow_exception);
    serving_.spawn(serve());
  }

  [[nodiscard]] eddy::address address() const { return socket_.local_address(); }

  /// Stops receiving. The datagrams that were received are still sent back.
  void stop() {
    stopping_ = true;
    socket_.stop_receiving();
  }
  void kill() { serving_.cancel(); }
  [[nodiscard]] census count() const { return {0, batch_->size()}; }

private:
  eddy::task<> serve() {
    while (!stopping_) {
      const auto count = co_await eddy::as_result(socket_.receive_many(batch_->incoming()));
      if (count) {
        batch_->answer(*count);
        co_await send_back();
      } else if (!stopping_) {
        print_error("udp_echo: cannot receive: %s", count.error().message().c_str());
        co_await eddy::sleep(accept_pause);
      }
    }
  }

  /// Sends all answers. A refused answer, such as an answer to a forged address, is dropped.
  eddy::task<> send_back() {
    while (!batch_->outgoing().empty()) {
      const auto sent = co_await eddy::as_result(socket_.send_many(batch_->outgoing()));
      if (!sent) print_error("udp_echo: cannot send: %s", sent.error().message().c_str());
      batch_->remove(sent ? *sent : 1);
    }
  }

  eddy::udp_socket socket_;
  std::unique_ptr<batch> batch_ = std::make_unique<batch>();  // 2 MiB
  bool stopping_ = false;
  eddy::scope serving_;
};

}  // namespace

int main(int argc, char** argv) { return run_server<echo_server>("udp_echo", argc, argv); }
