// SPDX-License-Identifier: BSD-2-Clause
//
// Connects the standard streams with a TCP or Unix connection, as nc does: the standard input goes
// to the peer, and the peer's bytes to the standard output. At the end of the input the sending
// side is ended, and the answer still arrives. The program ends when both sides have ended.
//
//   ./samples/run netcat 127.0.0.1 7000
//   ./samples/run netcat unix:/run/daemon.socket
//   ./samples/run netcat --listen 127.0.0.1:7000     # one connection; prints `ready` on stderr

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <eddy/future/block_on.h>
#include <eddy/future/task.h>
#include <eddy/loop/event_loop.h>
#include <eddy/net/address.h>
#include <eddy/net/any_stream.h>
#include <eddy/net/connect.h>
#include <eddy/net/copy.h>
#include <eddy/net/pipe.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>
#include <eddy/net/unix_address.h>
#include <eddy/net/unix_connect.h>
#include <eddy/net/unix_stream.h>

namespace {

eddy::task<eddy::tcp_stream> accept_one(eddy::event_loop& loop, eddy::address at) {
  eddy::tcp_listener listener(loop, at);
  std::fprintf(stderr, "ready %s\n", listener.local_address().to_string().c_str());
  eddy::tcp_stream stream = co_await listener.accept();
  co_return stream;
}

struct target {
  std::optional<eddy::address> listen;
  std::string host;  // or unix:PATH
  std::uint16_t port = 0;
};

std::optional<target> parse(std::span<char*> words) {
  target to;
  if (words.size() == 3 && words[1] == std::string_view("--listen")) {
    const eddy::result<eddy::address> at = eddy::address::parse(words[2]);
    if (!at) return std::nullopt;
    to.listen = *at;
    return to;
  } else if (words.size() == 2 && std::string_view(words[1]).starts_with("unix:")) {
    to.host = words[1];
    return to;
  } else if (words.size() == 3) {
    to.host = words[1];
    const std::string_view port = words[2];
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), to.port);
    if (error == std::errc() && end == port.data() + port.size()) return to;
  }
  return std::nullopt;
}

eddy::task<eddy::any_stream> open(eddy::event_loop& loop, const target& to) {
  if (to.listen) {
    eddy::tcp_stream peer = co_await accept_one(loop, *to.listen);
    co_return eddy::any_stream(std::move(peer));
  }
  if (to.host.starts_with("unix:")) {
    const eddy::unix_address path(to.host.substr(5));
    eddy::unix_stream peer = co_await eddy::connect(path);
    co_return eddy::any_stream(std::move(peer));
  }
  eddy::tcp_stream peer = co_await eddy::connect(to.host, to.port);
  co_return eddy::any_stream(std::move(peer));
}

eddy::task<> netcat(eddy::event_loop& loop, const target& to) {
  eddy::pipe_stream here(eddy::standard_input(loop), eddy::standard_output(loop));
  eddy::any_stream peer = co_await open(loop, to);
  co_await eddy::copy_bidirectional(here, peer);
}

}  // namespace

int main(int count, char** words) {
  const std::optional<target> to = parse({words, static_cast<std::size_t>(count)});
  if (!to) {
    std::fprintf(stderr, "usage: %s HOST PORT | unix:PATH | --listen ADDRESS:PORT\n", words[0]);
    return 64;
  }
  try {
    eddy::event_loop loop;
    eddy::block_on(loop, netcat(loop, *to));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "netcat: %s\n", e.what());
    return 1;
  }
}
