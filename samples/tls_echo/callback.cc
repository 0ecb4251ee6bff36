// SPDX-License-Identifier: BSD-2-Clause
//
// A TLS server that sends back all bytes that it receives. One object serves one connection, and
// each of its handlers starts the next operation. await.cc does the same with coroutines, and says
// how to make a certificate. SIGHUP makes the server read its certificate and key again.
//
//   ./samples/run tls_echo callback --certificate certificate.pem --key key.pem

#include <array>
#include <cstddef>
#include <exception>
#include <list>
#include <new>
#include <span>
#include <system_error>
#include <utility>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer.h>
#include <eddy/net/pending_operation.h>
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
      : loop_(loop),
        identity_(loop, arguments.tls),
        listener_(loop, arguments.listen),
        pause_(loop) {
    accept_all();
  }

  [[nodiscard]] const eddy::address& address() const { return listener_.local_address(); }

  /// Stops accepting. Each connection closes after it has sent back the bytes received.
  void stop() {
    stopping_ = true;
    pause_.stop();
    handshakes_.clear();
    listener_.close();
    // The bytes that have arrived are still read, and then the end, which is no close_notify.
    for (connection& c : connections_) c.stream.stream().shutdown_read();
  }
  void kill() { connections_.clear(); }
  [[nodiscard]] census count() const {
    return {handshakes_.size() + connections_.size(), buffered_};
  }

private:
  struct handshake {
    explicit handshake(eddy::event_loop& loop) : limit(loop) {}
    eddy::pending_operation accepting;
    eddy::timer limit;
  };
  struct connection {
    explicit connection(secure_stream s) : stream(std::move(s)) {}
    secure_stream stream;
    std::array<char, 16384> buffer;
  };
  using place = std::list<connection>::iterator;

  void accept_all() {
    listener_.accept([this](eddy::result<eddy::tcp_stream> stream) {
      try {
        if (!stream) throw std::system_error(stream.error(), "accept");
        shake_hands(std::move(*stream));
        accept_all();
      } catch (const std::exception& e) {
        print_error("tls_echo: cannot accept a connection: %s", e.what());
        accept_later();
      }
    });
  }

  void accept_later() {
    try {
      pause_.start(accept_pause, [this] { accept_all(); });
    } catch (const std::bad_alloc& e) {
      print_error("tls_echo: cannot pause before the next accept: %s", e.what());
      accept_all();
    }
  }

  void shake_hands(eddy::tcp_stream stream) {
    const auto here = handshakes_.emplace(handshakes_.end(), loop_);
    try {
      here->limit.start(handshake_limit, [this, here] {
        print_error("tls_echo: a handshake took too long");
        handshakes_.erase(here);
      });
      here->accepting = eddy::tls_accept(identity_.context(), std::move(stream),
                                         [this, here](eddy::result<secure_stream> secure) {
                                           handshakes_.erase(here);
                                           serve(std::move(secure));
                                         });
    } catch (...) {
      handshakes_.erase(here);
      throw;
    }
  }

  void serve(eddy::result<secure_stream> secure) {
    try {
      if (!secure) throw std::system_error(secure.error(), "TLS handshake");
      echo(connections_.emplace(connections_.end(), std::move(*secure)));
    } catch (const std::exception& e) {
      print_error("tls_echo: %s", e.what());
    }
  }

  /// Serves one connection until the client ends it, or cuts it off.
  void echo(place here) {
    attempt(here, [&] {
      here->stream.read(here->buffer, [this, here](eddy::result<std::size_t> size) {
        if (size && *size != 0) {
          send_back(here, *size);
        } else if (size || stopping_) {
          end(here);
        } else {
          connections_.erase(here);
        }
      });
    });
  }

  void send_back(place here, std::size_t size) {
    attempt(here, [&] {
      here->stream.write(std::span(here->buffer).first(size),
                         [this, here, size](eddy::result<void> sent) {
                           buffered_ -= size;
                           if (sent) {
                             echo(here);
                           } else {
                             connections_.erase(here);
                           }
                         });
      buffered_ += size;
    });
  }

  void end(place here) {
    attempt(here, [&] {
      here->stream.shutdown([this, here](eddy::result<void>) { connections_.erase(here); });
    });
  }

  /// An error of one connection, such as a lack of memory, closes no other connection.
  void attempt(place here, auto step) {
    try {
      step();
    } catch (const std::exception& e) {
      print_error("tls_echo: a connection failed: %s", e.what());
      connections_.erase(here);
    }
  }

  eddy::event_loop& loop_;
  server_identity identity_;
  eddy::tcp_listener listener_;
  eddy::timer pause_;
  bool stopping_ = false;
  std::size_t buffered_ = 0;
  std::list<handshake> handshakes_;
  std::list<connection> connections_;
};

}  // namespace

int main(int argc, char** argv) {
  return run_server<echo_server>("tls_echo", argc, argv, read_arguments);
}
