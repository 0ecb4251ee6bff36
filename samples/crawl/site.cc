// SPDX-License-Identifier: BSD-2-Clause

#include "site.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/sleep.h>
#include <eddy/net/address.h>

using namespace std::chrono_literals;

site::site(eddy::event_loop& loop)
    : listener_(loop, eddy::address::loopback_v4(0)), connections_(loop) {
  connections_.spawn(accept_all());
}

std::vector<url> site::urls() const {
  const eddy::address at = listener_.local_address();
  std::vector<url> all;
  for (std::size_t i = 1; i <= pages; ++i) {
    url u;
    u.host = at.host();
    u.port = at.port();
    u.path = "/" + std::to_string(i);
    u.text = "http://" + at.to_string() + u.path;
    all.push_back(std::move(u));
  }
  return all;
}

eddy::task<> site::accept_all() {
  for (;;) {
    eddy::tcp_stream stream = co_await listener_.accept();
    connections_.spawn(serve(std::move(stream)));
  }
}

eddy::task<> site::serve(eddy::tcp_stream stream) {
  std::string request;
  std::array<char, 1024> buffer;
  while (request.find("\r\n\r\n") == std::string::npos) {
    const auto got = co_await eddy::as_result(stream.read(buffer));
    if (!got || *got == 0 || request.size() > buffer.size()) co_return;
    request.append(buffer.data(), *got);
  }
  constexpr std::string_view get = "GET /";
  const std::size_t which =
      request.starts_with(get) ? std::strtoul(request.c_str() + get.size(), nullptr, 10) : 0;
  if (which == 0 || which > pages) co_return;

  const int attempt = ++asked_.at(which);
  co_await eddy::sleep(std::chrono::milliseconds(5 + which * 7 % 20));
  if (which == 13 || (which % 7 == 0 && attempt < 3)) co_return;
  if (which == 24) co_await eddy::sleep(1h);

  const std::string body(which * 1000, 'x');
  const std::string answer =
      "HTTP/1.0 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  co_await eddy::as_result(stream.write(answer));
}

progress::progress(std::vector<url> all) {
  for (url& u : all) fates_.push_back({std::move(u)});
}

progress::fate& progress::fate_of(const url& from) {
  return *std::ranges::find(fates_, from.path, [](const fate& f) { return f.from.path; });
}

void progress::asking() {
  ++requests_;
  most_ = std::max(most_, ++running_);
}

void progress::arrived(const url& from, const page& what) {
  fate_of(from).arrived = true;
  bytes_ += what.body.size();
  ++done_;
  print_line();
}

void progress::given_up(const url& from, const char* why) {
  fate_of(from).given_up = true;
  ++done_;
  std::fprintf(stderr, "%s: %s\n", from.text.c_str(), why);
  print_line();
}

void progress::print_line() const {
  if (::isatty(STDERR_FILENO) == 0) return;
  std::fprintf(stderr, "\r%zu of %zu pages, %zu bytes\r", done_, fates_.size(), bytes_);
}

void progress::print_end() const {
  const auto arrived = std::ranges::count_if(fates_, &fate::arrived);
  std::printf("%td of %zu pages, %zu bytes, in %zu requests, %zu at once\n", arrived, fates_.size(),
              bytes_, requests_, most_);
  for (const fate& f : fates_) {
    if (f.given_up) std::printf("%s: given up\n", f.from.path.c_str());
    if (!f.given_up && !f.arrived) std::printf("%s: not within the limit\n", f.from.path.c_str());
  }
}
