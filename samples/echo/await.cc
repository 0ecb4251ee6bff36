// SPDX-License-Identifier: BSD-2-Clause
//
// A TCP server that sends back what it gets: a coroutine a connection, which
// reads from top to bottom. callback.cc is the same with handlers.
//
//   ./samples/run echo await --listen 127.0.0.1:7000
//   nc 127.0.0.1 7000

#include <array>
#include <cstdio>
#include <exception>
#include <span>
#include <utility>

#include <eddy/future/as_result.h>
#include <eddy/future/scope.h>
#include <eddy/future/stop_token.h>
#include <eddy/future/task.h>
#include <eddy/loop/event_loop.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>

#include "daemon.h"

namespace {

class echo_server {
public:
  echo_server(eddy::event_loop& loop, const eddy::address& at)
      : listener_(loop, at), stop_(loop), connections_(loop), accepting_(loop) {
    accepting_.on_error(&std::rethrow_exception);
    connections_.on_error(&std::rethrow_exception);
    accepting_.spawn(accept_all());
  }

  [[nodiscard]] const eddy::address& address() const { return listener_.local_address(); }

  /// Accepts no more; the connections end when they have sent what has come.
  void stop() {
    accepting_.cancel();
    listener_.close();
    stop_.request_stop();
  }
  void kill() { connections_.cancel(); }
  [[nodiscard]] census count() const { return {connections_.size(), buffered_}; }

private:
  eddy::task<> accept_all() {
    for (;;) {
      eddy::tcp_stream stream = co_await listener_.accept();
      connections_.spawn(echo(std::move(stream)));
    }
  }

  /// Until the client has sent everything, or has gone without a word.
  eddy::task<> echo(eddy::tcp_stream stream) {
    const eddy::stop_callback on_stop(stop_.token(), [&stream] { stream.shutdown_read(); });
    std::array<char, 4096> buffer;
    for (;;) {
      const auto size = co_await eddy::as_result(stream.read(buffer));
      if (!size || *size == 0) co_return;
      buffered_ += *size;
      const auto sent = co_await eddy::as_result(stream.write(std::span(buffer).first(*size)));
      buffered_ -= *size;
      if (!sent) co_return;
    }
  }

  eddy::tcp_listener listener_;
  std::size_t buffered_ = 0;
  eddy::stop_source stop_;
  eddy::scope connections_;
  eddy::scope accepting_;
};

}  // namespace

int main(int argc, char** argv) try {
  const eddy::address at = listen_address(argc, argv);
  eddy::event_loop loop;
  echo_server server(loop, at);
  const daemon_signals signals(
      loop, [&] { server.stop(); }, [&] { server.kill(); }, [&] { return server.count(); });
  print_ready(server.address());
  loop.run();
} catch (const std::exception& e) {
  std::fprintf(stderr, "echo: %s\n", e.what());
  return 1;
}
