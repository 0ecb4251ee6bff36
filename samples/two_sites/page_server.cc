// SPDX-License-Identifier: BSD-2-Clause

#include "page_server.h"

#include <chrono>
#include <string_view>
#include <utility>

#include <eddy/future/as_result.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/net/address.h>

using namespace std::chrono_literals;

namespace {

struct recipe {
  std::string_view path;
  std::size_t size;
  std::chrono::milliseconds before_head;
  std::chrono::milliseconds between_pieces;
};
constexpr std::array<recipe, 2> recipes{{
    {"/tea", 65'536, 150ms, 25ms},
    {"/coffee", 262'144, 250ms, 40ms},
}};
constexpr std::size_t pieces = 4;

std::string brew(const recipe& r) {
  std::string body;
  for (int line = 1; body.size() < r.size; ++line) {
    body += "cup " + std::to_string(line) + " of " + std::string(r.path.substr(1)) + "\n";
  }
  return body;
}

}  // namespace

page_server::page_server(eddy::event_loop& loop)
    : bodies_{brew(recipes[0]), brew(recipes[1])},
      loop_(loop),
      listener_(loop, eddy::address::loopback_v4(0)),
      accepting_(eddy::spawn(loop, accept_all())) {}

std::string page_server::url(int which) const {
  const recipe& r = recipes.at(static_cast<std::size_t>(which));
  return "http://" + listener_.local_address().to_string() + std::string(r.path);
}

const std::string& page_server::body(int which) const {
  return bodies_.at(static_cast<std::size_t>(which));
}

eddy::task<> page_server::accept_all() {
  for (;;) {
    eddy::tcp_stream stream = co_await listener_.accept();
    std::erase_if(connections_, [](const eddy::future<>& f) { return f.ready(); });
    connections_.push_back(eddy::spawn(loop_, serve(std::move(stream))));
  }
}

eddy::task<> page_server::serve(eddy::tcp_stream stream) const {
  std::string request;
  std::array<char, 4096> buffer;
  while (request.find("\r\n\r\n") == std::string::npos) {
    const auto got = co_await eddy::as_result(stream.read(buffer));
    if (!got || *got == 0 || request.size() > buffer.size()) co_return;
    request.append(buffer.data(), *got);
  }

  std::size_t which = 0;
  while (which < recipes.size() &&
         !request.starts_with("GET " + std::string(recipes.at(which).path) + " ")) {
    ++which;
  }
  if (which == recipes.size()) {
    constexpr std::string_view no = "HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    co_await eddy::as_result(stream.write(no));
    co_return;
  }

  const recipe& r = recipes.at(which);
  const std::string& body = bodies_.at(which);
  co_await eddy::sleep(r.before_head);
  const std::string head =
      "HTTP/1.0 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n";
  auto sent = co_await eddy::as_result(stream.write(head));
  const std::size_t piece = (body.size() + pieces - 1) / pieces;
  for (std::size_t at = 0; sent && at < body.size(); at += piece) {
    if (at != 0) co_await eddy::sleep(r.between_pieces);
    sent = co_await eddy::as_result(stream.write(std::string_view(body).substr(at, piece)));
  }
}
