// SPDX-License-Identifier: BSD-2-Clause
//
// A TCP server that sends back all bytes that it receives. One object serves one connection,
// and each of its handlers starts the next operation. await.cc does the same with coroutines.
//
//   ./samples/run echo callback --listen 127.0.0.1:7000
//   nc 127.0.0.1 7000

#include <array>
#include <exception>
#include <list>
#include <new>
#include <optional>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>

#include "../daemon/daemon.h"
#include "send_back.h"

namespace {

class echo_server {
public:
  echo_server(eddy::event_loop& loop, const eddy::address& at) : listener_(loop, at), pause_(loop) {
    accept_all();
  }

  [[nodiscard]] const eddy::address& address() const { return listener_.local_address(); }

  /// Stops accepting. Each connection closes after it has sent back the bytes received.
  void stop() {
    pause_.stop();
    listener_.close();
    for (connection& c : connections_) c.stream.shutdown_read();
  }
  void kill() { connections_.clear(); }
  [[nodiscard]] census count() const { return {connections_.size(), buffered_}; }

private:
  struct connection {
    explicit connection(eddy::tcp_stream s) : stream(std::move(s)) {}
    eddy::tcp_stream stream;
    std::vector<char> rest;  // bytes received that the kernel has not taken yet
  };
  using place = std::list<connection>::iterator;

  void accept_all() {
    listener_.accept([this](eddy::result<eddy::tcp_stream> stream) {
      try {
        if (!stream) throw std::system_error(stream.error(), "accept");
        echo(connections_.emplace(connections_.end(), std::move(*stream)));
        accept_all();
      } catch (const std::exception& e) {
        print_error("echo: cannot accept a connection: %s", e.what());
        accept_later();
      }
    });
  }

  void accept_later() {
    try {
      pause_.start(accept_pause, [this] { accept_all(); });
    } catch (const std::bad_alloc& e) {
      print_error("echo: cannot pause before the next accept: %s", e.what());
      accept_all();
    }
  }

  /// Serves one connection until the client closes or resets it.
  void echo(place here) {
    attempt(here, [&] {
      here->stream.wait_readable(
          [this, here](eddy::result<void> readable) { go_on(here, readable); });
    });
  }

  void go_on(place here, eddy::result<void> readable) {
    attempt(here, [&] {
      if (!readable) throw std::system_error(readable.error(), "wait to read");
      std::optional<std::vector<char>> rest = send_back(here->stream, buffer_);
      if (!rest) {
        connections_.erase(here);
      } else if (rest->empty()) {
        echo(here);
      } else {
        here->rest = *std::move(rest);
        send_rest(here);
      }
    });
  }

  void send_rest(place here) {
    here->stream.write(std::span(here->rest), [this, here](eddy::result<void> sent) {
      buffered_ -= here->rest.size();
      here->rest = std::vector<char>();
      if (sent) {
        echo(here);
      } else {
        connections_.erase(here);
      }
    });
    buffered_ += here->rest.size();
  }

  /// An error of one connection, such as a lack of memory, closes no other connection.
  void attempt(place here, auto step) {
    try {
      step();
    } catch (const std::exception& e) {
      print_error("echo: a connection failed: %s", e.what());
      connections_.erase(here);
    }
  }

  eddy::tcp_listener listener_;
  eddy::timer pause_;
  std::array<char, 16384> buffer_;  // shared by all connections
  std::size_t buffered_ = 0;
  std::list<connection> connections_;
};

}  // namespace

int main(int argc, char** argv) { return run_server<echo_server>("echo", argc, argv); }
