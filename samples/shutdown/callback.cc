// SPDX-License-Identifier: BSD-2-Clause
//
// Shuts down a server cleanly. The server sends bytes back after a tenth of a second per
// byte. On SIGTERM or SIGINT it stops accepting, closes idle connections, gives running
// requests two seconds, and cancels the others. A second signal cancels them at once.
// await.cc does the same with coroutines.
//
//   ./samples/run shutdown callback --listen 127.0.0.1:7000
//   nc 127.0.0.1 7000

#include <array>
#include <csignal>
#include <exception>
#include <iterator>
#include <list>
#include <new>
#include <span>
#include <system_error>
#include <utility>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/signal.h>
#include <eddy/loop/timer.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>

#include "../daemon/daemon.h"

using namespace std::chrono_literals;

namespace {

class server {
public:
  server(eddy::event_loop& loop, const eddy::address& at)
      : loop_(loop),
        listener_(loop, at),
        pause_(loop),
        limit_(loop),
        signals_{{{loop, SIGTERM}, {loop, SIGINT}}} {
    for (eddy::signal& s : signals_) {
      s.start([this] { stop(); });
      s.background(true);
    }
    accept_all();
    print_ready(listener_.local_address());
  }

  void print_end() const { print_line("%zu answered, %zu cancelled", answered_, cancelled_); }

private:
  struct connection {
    connection(eddy::event_loop& loop, eddy::tcp_stream s) : stream(std::move(s)), work(loop) {}
    eddy::tcp_stream stream;
    eddy::timer work;
    std::array<char, 64> buffer;
    bool busy = false;
  };
  using place = std::list<connection>::iterator;

  void accept_all() {
    listener_.accept([this](eddy::result<eddy::tcp_stream> stream) {
      try {
        if (!stream) throw std::system_error(stream.error(), "accept");
        read(connections_.emplace(connections_.end(), loop_, std::move(*stream)));
        accept_all();
      } catch (const std::exception& e) {
        print_error("shutdown: cannot accept a connection: %s", e.what());
        accept_later();
      }
    });
  }

  void accept_later() {
    try {
      pause_.start(accept_pause, [this] { accept_all(); });
    } catch (const std::bad_alloc& e) {
      print_error("shutdown: cannot pause before the next accept: %s", e.what());
      accept_all();
    }
  }

  /// Serves requests one after the other until the client closes the connection or the server
  /// stops.
  void read(place here) {
    attempt(here, [&] {
      here->stream.read(here->buffer, [this, here](eddy::result<std::size_t> size) {
        if (!size || *size == 0) return end(here);
        begin(here, *size);
      });
    });
  }

  void begin(place here, std::size_t size) {
    ++under_way_;
    here->busy = true;
    attempt(here,
            [&] { here->work.start(size * 100ms, [this, here, size] { answer(here, size); }); });
  }

  void answer(place here, std::size_t size) {
    attempt(here, [&] {
      const auto bytes = std::span(here->buffer).first(size);
      here->stream.write(bytes, [this, here](eddy::result<void> sent) {
        --under_way_;
        here->busy = false;
        if (sent) ++answered_;
        sent && !stopping_ ? read(here) : end(here);
      });
    });
  }

  /// An error of one connection, such as a lack of memory, closes no other connection.
  void attempt(place here, auto step) {
    try {
      step();
    } catch (const std::exception& e) {
      print_error("shutdown: a connection failed: %s", e.what());
      end(here);
    }
  }

  void end(place here) {
    if (here->busy) --under_way_;
    connections_.erase(here);
    if (connections_.empty()) limit_.stop();
  }

  void stop() {
    if (std::exchange(stopping_, true)) return cancel();
    pause_.stop();
    listener_.close();
    connections_.remove_if([](const connection& c) { return !c.busy; });
    print_line("stopping, %zu requests under way", under_way_);
    if (!connections_.empty()) limit_.start(2s, [this] { cancel(); });
  }

  void cancel() {
    cancelled_ = under_way_;
    connections_.clear();
    limit_.stop();
  }

  eddy::event_loop& loop_;
  eddy::tcp_listener listener_;
  eddy::timer pause_;
  eddy::timer limit_;
  std::array<eddy::signal, 2> signals_;
  std::list<connection> connections_;
  std::size_t under_way_ = 0;
  std::size_t answered_ = 0;
  std::size_t cancelled_ = 0;
  bool stopping_ = false;
};

}  // namespace

int main(int argc, char** argv) try {
  prepare_process();
  const eddy::address at = listen_address(argc, argv);
  eddy::event_loop loop;
  const server s(loop, at);
  loop.run();
  s.print_end();
} catch (const std::exception& e) {
  print_error("shutdown: %s", e.what());
  return 1;
}
