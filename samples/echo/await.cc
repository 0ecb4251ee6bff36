// SPDX-License-Identifier: BSD-2-Clause
//
// A TCP server that sends back all bytes that it receives. One coroutine serves one
// connection, and its code reads from top to bottom. callback.cc does the same with handlers.
//
//   ./samples/run echo await --listen 127.0.0.1:7000
//   nc 127.0.0.1 7000

#include <array>
#include <exception>
#include <new>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <eddy/future/as_result.h>
#include <eddy/future/flow/stop_token.h>
#include <eddy/future/scope.h>
#include <eddy/future/sleep.h>
#include <eddy/future/task.h>
#include <eddy/loop/event_loop.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>

#include "../daemon/daemon.h"
#include "send_back.h"

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

  /// Stops accepting. Each connection closes after it has sent back the bytes received.
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
      try {
        eddy::tcp_stream stream = co_await listener_.accept();
        connections_.spawn(echo(std::move(stream)));
        continue;
      } catch (const std::exception& e) {
        print_error("echo: cannot accept a connection: %s", e.what());
      }
      try {
        co_await eddy::sleep(accept_pause);
      } catch (const std::bad_alloc& e) {
        print_error("echo: cannot pause before the next accept: %s", e.what());
      }
    }
  }

  /// Serves one connection until the client closes or resets it. An error of one connection,
  /// such as a lack of memory, closes no other connection.
  eddy::task<> echo(eddy::tcp_stream stream) {
    try {
      const eddy::stop_callback on_stop(stop_.token(), [&stream] { stream.shutdown_read(); });
      for (;;) {
        co_await stream.wait_readable();
        const auto rest = send_back(stream, buffer_);
        if (!rest) co_return;
        if (rest->empty()) continue;
        buffered_ += rest->size();
        const auto sent = co_await eddy::as_result(stream.write(std::span(*rest)));
        buffered_ -= rest->size();
        if (!sent) co_return;
      }
    } catch (const std::exception& e) {
      print_error("echo: a connection failed: %s", e.what());
    }
  }

  eddy::tcp_listener listener_;
  std::array<char, 16384> buffer_;  // shared by all connections
  std::size_t buffered_ = 0;
  eddy::stop_source stop_;
  eddy::scope connections_;
  eddy::scope accepting_;
};

}  // namespace

int main(int argc, char** argv) { return run_server<echo_server>("echo", argc, argv); }
