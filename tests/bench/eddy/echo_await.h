// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <span>
#include <utility>
#include <vector>

#include <eddy/future/as_result.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/net/tcp_stream.h>

#include "bench/eddy/tcp_listener_at.h"

namespace bench {

/// All connections share one buffer, because bytes read are sent or copied at once.
template <class Stream>
class basic_echo_server {
public:
  /// Serves one connection until the peer closes it.
  using connection = eddy::task<> (*)(basic_echo_server& server, Stream stream);

  explicit basic_echo_server(std::size_t buffer) : buffer_(buffer) {}

  template <class Listener>
  eddy::task<> run(Listener& listener, connection echo) {
    for (;;) {
      Stream stream = co_await listener.accept();
      if constexpr (requires { stream.set_no_delay(true); }) stream.set_no_delay(true);
      // The index is the descriptor, which the system reuses after the connection is closed.
      const auto index = static_cast<std::size_t>(stream.descriptor());
      if (index >= connections_.size()) connections_.resize(index + 1);
      connections_[index] = eddy::spawn(listener.loop(), echo(*this, std::move(stream)));
    }
  }

  /// A coroutine of its own, so that the frame of a quiet connection has no space for `rest`.
  eddy::task<bool> send_rest(Stream& stream) {
    const auto rest = std::exchange(rest_, {});
    const auto sent = co_await eddy::as_result(stream.write(std::span(rest)));
    co_return sent.has_value();
  }

  /// Sends back the available bytes, and keeps bytes that the kernel did not take in `rest_`.
  /// False at the end of the connection.
  bool read(Stream& stream) {
    const auto size = stream.try_read(std::span(buffer_));
    if (!size) return true;
    if (!*size || **size == 0) return false;
    const auto all = std::span(buffer_).first(**size);
    const auto sent = stream.try_write(all);
    if (sent && !*sent) return false;
    const auto rest = all.subspan(sent ? **sent : 0);
    rest_.assign(rest.begin(), rest.end());
    return true;
  }

  [[nodiscard]] bool has_rest() const noexcept { return !rest_.empty(); }

private:
  std::vector<char> buffer_;
  std::vector<char> rest_;
  std::vector<eddy::future<>> connections_;
};

using echo_server = basic_echo_server<eddy::tcp_stream>;

template <class Stream>
eddy::task<> echo(basic_echo_server<Stream>& server, Stream stream) {
  for (;;) {
    co_await stream.wait_readable();
    if (!server.read(stream)) break;
    if (!server.has_rest()) continue;
    const bool sent = co_await server.send_rest(stream);
    if (!sent) break;
  }
}

}  // namespace bench
