// SPDX-License-Identifier: BSD-2-Clause
//
// A TLS server that sends back all bytes that it receives. One coroutine makes a handshake, and one
// serves the connection. callback.cc does the same with handlers. SIGHUP makes the server read its
// certificate and key again.
//
//   openssl req -x509 -newkey rsa -nodes -subj /CN=localhost -keyout key.pem -out certificate.pem
//   ./samples/run tls_echo await --certificate certificate.pem --key key.pem --listen
//   127.0.0.1:7000 openssl s_client -connect 127.0.0.1:7000 -CAfile certificate.pem

#include <array>
#include <cstddef>
#include <exception>
#include <new>
#include <span>
#include <utility>

#include <eddy/future/as_result.h>
#include <eddy/future/flow/stop_token.h>
#include <eddy/future/scope.h>
#include <eddy/future/sleep.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/loop/event_loop.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>
#include <eddy/net/tls/tls_stream.h>

#include "../daemon/daemon.h"
#include "arguments.h"

namespace {

using secure_stream = eddy::tls_stream<eddy::tcp_stream>;

class echo_server {
public:
  echo_server(eddy::event_loop& loop, const tls_echo_arguments& arguments)
      : identity_(loop, arguments.tls),
        listener_(loop, arguments.listen),
        stop_(loop),
        connections_(loop),
        handshakes_(loop),
        accepting_(loop) {
    for (eddy::scope* s : {&accepting_, &handshakes_, &connections_}) {
      s->on_error(&std::rethrow_exception);
    }
    accepting_.spawn(accept_all());
  }

  [[nodiscard]] const eddy::address& address() const { return listener_.local_address(); }

  /// Stops accepting. Each connection closes after it has sent back the bytes received.
  void stop() {
    accepting_.cancel();
    handshakes_.cancel();
    listener_.close();
    stop_.request_stop();
  }
  void kill() { connections_.cancel(); }
  [[nodiscard]] census count() const {
    return {handshakes_.size() + connections_.size(), buffered_};
  }

private:
  eddy::task<> accept_all() {
    for (;;) {
      try {
        eddy::tcp_stream stream = co_await listener_.accept();
        handshakes_.spawn(shake_hands(std::move(stream)));
        continue;
      } catch (const std::exception& e) {
        print_error("tls_echo: cannot accept a connection: %s", e.what());
      }
      try {
        co_await eddy::sleep(accept_pause);
      } catch (const std::bad_alloc& e) {
        print_error("tls_echo: cannot pause before the next accept: %s", e.what());
      }
    }
  }

  /// A client that fails or takes too long closes no other connection.
  eddy::task<> shake_hands(eddy::tcp_stream stream) {
    try {
      auto handshake =
          eddy::timeout(handshake_limit, eddy::tls_accept(identity_.context(), std::move(stream)));
      secure_stream secure = co_await std::move(handshake);
      connections_.spawn(echo(std::move(secure)));
    } catch (const std::exception& e) {
      print_error("tls_echo: %s", e.what());
    }
  }

  /// Serves one connection until the client ends it, or cuts it off.
  eddy::task<> echo(secure_stream stream) {
    try {
      // The bytes that have arrived are still read, and then the end, which is no close_notify.
      const eddy::stop_callback on_stop(stop_.token(),
                                        [&stream] { stream.stream().shutdown_read(); });
      std::array<char, 16384> buffer;
      bool orderly = false;
      for (;;) {
        const auto size = co_await eddy::as_result(stream.read(buffer));
        orderly = size.has_value() || stop_.stop_requested();
        if (!size || *size == 0) break;
        buffered_ += *size;
        const auto sent = co_await eddy::as_result(stream.write(std::span(buffer).first(*size)));
        buffered_ -= *size;
        if (!sent) co_return;
      }
      if (orderly) co_await stream.shutdown();
    } catch (const std::exception& e) {
      print_error("tls_echo: a connection failed: %s", e.what());
    }
  }

  server_identity identity_;
  eddy::tcp_listener listener_;
  std::size_t buffered_ = 0;
  eddy::stop_source stop_;
  eddy::scope connections_;
  eddy::scope handshakes_;
  eddy::scope accepting_;
};

}  // namespace

int main(int argc, char** argv) {
  return run_server<echo_server>("tls_echo", argc, argv, read_arguments);
}
