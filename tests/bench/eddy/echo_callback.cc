// SPDX-License-Identifier: BSD-2-Clause
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <eddy/loop/event_loop.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>

#include "bench/echo.h"

namespace {

class echo_server;

/// It owns itself, until the other side goes.
class connection {
public:
  connection(echo_server& server, eddy::tcp_stream stream)
      : server_(server), stream_(std::move(stream)) {
    wait();
  }

private:
  void wait() {
    stream_.wait_readable([this](eddy::result<void> ready) { ready ? echo() : end(); });
  }
  void echo();
  void end() { delete this; }

  echo_server& server_;
  eddy::tcp_stream stream_;
};

/// All connections share one buffer: what is read is sent, or copied, at once.
class echo_server {
public:
  echo_server(eddy::event_loop& loop, const bench::echo_arguments& arguments)
      : listener_(loop, eddy::address::loopback_v4(arguments.port)), buffer(arguments.buffer) {
    accept();
    bench::tell_ready(listener_.local_address().port());
  }

private:
  void accept() {
    listener_.accept([this](eddy::result<eddy::tcp_stream> stream) {
      if (stream) {
        stream->set_no_delay(true);
        new connection(*this, std::move(*stream));
      }
      accept();
    });
  }

  eddy::tcp_listener listener_;

public:
  std::vector<char> buffer;
};

void connection::echo() {
  const auto size = stream_.try_read(std::span(server_.buffer));
  if (!size) return wait();
  if (!*size || **size == 0) return end();
  const auto all = std::span(server_.buffer).first(**size);
  const auto sent = stream_.try_write(all);
  if (sent && !*sent) return end();
  const auto rest = all.subspan(sent ? **sent : 0);
  if (rest.empty()) return wait();
  auto kept = std::make_unique<std::vector<char>>(rest.begin(), rest.end());
  const std::span bytes(*kept);
  stream_.write(bytes, [this, kept = std::move(kept)](eddy::result<void> written) {
    written ? wait() : end();
  });
}

}  // namespace

int main(int count, char** words) {
  const auto arguments = bench::echo_main(count, words);
  eddy::event_loop loop;
  const echo_server server(loop, arguments);
  loop.run();
}
