// SPDX-License-Identifier: BSD-2-Clause
//
// Downloads two pages at once with one thread per page and blocking system calls, without
// eddy, for comparison with the other three styles.
//
//   ./samples/run two_sites threads http://127.0.0.1:8000/a http://127.0.0.1:8000/b

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "page.h"

namespace {

using deadline = std::chrono::steady_clock::time_point;

class socket_descriptor {
public:
  explicit socket_descriptor(int descriptor) : descriptor_(descriptor) {}
  socket_descriptor(const socket_descriptor&) = delete;
  socket_descriptor& operator=(const socket_descriptor&) = delete;
  ~socket_descriptor() { ::close(descriptor_); }
  [[nodiscard]] int get() const { return descriptor_; }

private:
  int descriptor_;
};

std::string sentence(const std::string& what, int error) {
  return what + ": " + std::generic_category().message(error);
}

/// Blocks until the socket is ready for `events`. False if the time limit expired first.
bool ready(int descriptor, short events, deadline until) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - deadline::clock::now());
    if (left.count() <= 0) return false;
    ::pollfd p{descriptor, events, 0};
    if (::poll(&p, 1, static_cast<int>(left.count())) > 0) return true;
  }
}

/// Sends the request and reads the answer on a connected socket.
arrival exchange(int s, const std::string& request, deadline until) {
  for (std::string_view rest = request; !rest.empty();) {
    if (!ready(s, POLLOUT, until)) return std::unexpected("not done within the limit");
    const auto sent = ::send(s, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return std::unexpected(sentence("write", errno));
    if (sent > 0) rest.remove_prefix(static_cast<std::size_t>(sent));
  }
  answer incoming;
  std::array<char, 16384> buffer;
  for (;;) {
    if (!ready(s, POLLIN, until)) return std::unexpected("not done within the limit");
    const auto got = ::recv(s, buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EAGAIN) continue;
    if (got < 0) return std::unexpected(sentence("read", errno));
    if (got == 0) return incoming.end();
    const std::string_view bytes(buffer.data(), static_cast<std::size_t>(got));
    if (auto complete = incoming.add(bytes)) return std::move(*complete);
  }
}

arrival fetch(const url& from, deadline until) {
  ::addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  ::addrinfo* found = nullptr;
  const int failed =
      ::getaddrinfo(from.host.c_str(), std::to_string(from.port).c_str(), &hints, &found);
  if (failed != 0) return std::unexpected(from.host + ": " + ::gai_strerror(failed));
  const std::unique_ptr<::addrinfo, void (*)(::addrinfo*)> addresses(found, &::freeaddrinfo);

  std::string why;
  for (const ::addrinfo* a = found; a != nullptr; a = a->ai_next) {
    const socket_descriptor s(
        ::socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    int error = 0;
    if (s.get() < 0 ||
        (::connect(s.get(), a->ai_addr, a->ai_addrlen) < 0 && errno != EINPROGRESS)) {
      why = sentence("connect", errno);
      continue;
    }
    if (!ready(s.get(), POLLOUT, until)) return std::unexpected("not done within the limit");
    ::socklen_t size = sizeof error;
    ::getsockopt(s.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error == 0) return exchange(s.get(), request_for(from), until);
    why = sentence("connect", error);
  }
  return std::unexpected(why);
}

void download(downloads& all, int which) {
  all.started(which);
  all.ended(which, fetch(all.from(which), deadline::clock::now() + all.limit()));
}

}  // namespace

int main(int argc, char** argv) try {
  downloads all(argc, argv);
  {
    const std::jthread first([&all] { download(all, 0); });
    const std::jthread second([&all] { download(all, 1); });
  }
  return all.report();
} catch (const std::system_error& e) {
  std::fprintf(stderr, "two_sites: cannot start a thread: %s\n", e.what());
  return 1;
}
