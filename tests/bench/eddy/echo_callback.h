// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <eddy/loop/event_loop.h>
#include <eddy/net/tcp_stream.h>

#include "bench/eddy/tcp_listener_at.h"

namespace bench {

/// The `Timeout` of a connection without an idle timeout.
struct no_timeout {
  template <class Handler>
  no_timeout(eddy::event_loop&, Handler) {}
  void restart() {}
};

/// A connection, which owns itself until the peer closes it or its timeout expires.
template <class Stream, class Timeout>
class connection {
public:
  connection(std::vector<char>& buffer, Stream stream)
      : buffer_(buffer), stream_(std::move(stream)), timeout_(stream_.loop(), [this] { end(); }) {
    wait();
  }

private:
  void wait() {
    stream_.wait_readable([this](eddy::result<void> ready) { ready ? echo() : end(); });
  }

  void echo() {
    timeout_.restart();
    const auto size = stream_.try_read(std::span(buffer_));
    if (!size) return wait();
    if (!*size || **size == 0) return end();
    const auto all = std::span(buffer_).first(**size);
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

  void end() { delete this; }

  std::vector<char>& buffer_;
  Stream stream_;
  [[no_unique_address]] Timeout timeout_;
};

/// All connections share one buffer, because bytes read are sent or copied at once.
template <class Listener, class Stream, class Timeout>
class basic_echo_server {
public:
  basic_echo_server(Listener listener, std::size_t buffer)
      : listener_(std::move(listener)), buffer_(buffer) {
    accept();
  }

private:
  void accept() {
    listener_.accept([this](eddy::result<Stream> stream) {
      if (stream) {
        if constexpr (requires { stream->set_no_delay(true); }) stream->set_no_delay(true);
        new connection<Stream, Timeout>(buffer_, std::move(*stream));
      }
      accept();
    });
  }

  Listener listener_;
  std::vector<char> buffer_;
};

template <class Timeout = no_timeout>
class echo_server : public basic_echo_server<eddy::tcp_listener, eddy::tcp_stream, Timeout> {
public:
  echo_server(eddy::event_loop& loop, const echo_arguments& arguments)
      : basic_echo_server<eddy::tcp_listener, eddy::tcp_stream, Timeout>(
            tcp_listener_at(loop, arguments), arguments.buffer) {}
};

}  // namespace bench
