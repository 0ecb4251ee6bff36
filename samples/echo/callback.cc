// SPDX-License-Identifier: BSD-2-Clause
//
// A TCP server that sends back what it gets: an object a connection, whose
// handlers call one another in turn. await.cc is the same with coroutines.
//
//   ./samples/run echo callback --listen 127.0.0.1:7000
//   nc 127.0.0.1 7000

#include <array>
#include <cstdio>
#include <exception>
#include <list>
#include <span>
#include <utility>

#include <eddy/loop/event_loop.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>

#include "daemon.h"

namespace {

class echo_server {
public:
  echo_server(eddy::event_loop& loop, const eddy::address& at) : listener_(loop, at) {
    accept_all();
  }

  [[nodiscard]] const eddy::address& address() const { return listener_.local_address(); }

  /// Accepts no more; the connections end when they have sent what has come.
  void stop() {
    listener_.close();
    for (connection& c : connections_) c.stream.shutdown_read();
  }
  void kill() { connections_.clear(); }
  [[nodiscard]] census count() const { return {connections_.size(), buffered_}; }

private:
  struct connection {
    explicit connection(eddy::tcp_stream s) : stream(std::move(s)) {}
    eddy::tcp_stream stream;
    std::array<char, 4096> buffer;
  };
  using place = std::list<connection>::iterator;

  void accept_all() {
    listener_.accept([this](eddy::result<eddy::tcp_stream> stream) {
      if (!stream) throw std::system_error(stream.error(), "accept");
      echo(connections_.emplace(connections_.end(), std::move(*stream)));
      accept_all();
    });
  }

  /// Until the client has sent everything, or has gone without a word.
  void echo(place here) {
    here->stream.read(here->buffer, [this, here](eddy::result<std::size_t> size) {
      if (!size || *size == 0) {
        connections_.erase(here);
      } else {
        buffered_ += *size;
        send_back(here, *size);
      }
    });
  }

  void send_back(place here, std::size_t size) {
    const auto bytes = std::span(here->buffer).first(size);
    here->stream.write(bytes, [this, here, size](eddy::result<void> sent) {
      buffered_ -= size;
      if (sent) {
        echo(here);
      } else {
        connections_.erase(here);
      }
    });
  }

  eddy::tcp_listener listener_;
  std::size_t buffered_ = 0;
  std::list<connection> connections_;
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
