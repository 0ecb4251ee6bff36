// SPDX-License-Identifier: BSD-2-Clause
//
// Loads an echo server, with epoll alone:
//
//   load ADDRESS CONNECTIONS SIZE MESSAGES [SERVER]
//   load PORT CONNECTIONS churn COUNT [SERVER]
//   load PORT SOCKETS udp MESSAGES [SERVER]
//   load PORT CONNECTIONS idle
//
// ADDRESS is a port of 127.0.0.1, or the path of a Unix socket, with a slash.
//
// The first form keeps one message of SIZE bytes in flight on each connection. After a tenth
// of MESSAGES as a warm-up, it measures until MESSAGES have come back unchanged, and prints
// the time and the processor time of the process SERVER, in nanoseconds per message:
//
//   wall 5012.3 cpu 3310.4
//
// The second form makes COUNT connections, CONNECTIONS at a time. Each sends one message of
// 64 bytes, receives it back, and closes. Prints the same times per connection.
//
// The third form keeps 8 datagrams of 64 bytes in flight on each socket, and prints the same times
// per datagram.
//
// The last form prints `ready` when the server has accepted all connections, and keeps them.

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bench/sockets.h"
#include "bench/time_each.h"

namespace {

using bench::fail;
using bench::time_each;

std::uint64_t number(const char* word) { return std::strtoull(word, nullptr, 10); }

std::uint16_t port_of(const char* word) { return static_cast<std::uint16_t>(number(word)); }

class load {
public:
  /// `address` is a port or a path.
  load(const char* address, std::size_t size)
      : path_(std::strchr(address, '/') != nullptr ? address : nullptr),
        port_(port_of(address)),
        message_(size),
        answer_(size) {
    for (std::size_t i = 0; i < size; ++i) message_[i] = static_cast<char>(i * 7);
  }

  void connect(std::uint64_t connections) {
    for (std::uint64_t i = 0; i < connections; ++i) {
      sockets_.push_back(path_ != nullptr ? bench::unix_connect_to(path_)
                                          : bench::connect_to(port_));
      watch(sockets_.back());
    }
  }

  /// Exchanges one message on each connection, so that the server has accepted all of them.
  void echo(std::uint64_t messages) {
    std::uint64_t sent = 0;
    for (const int s : sockets_) {
      if (sent == messages) break;
      ++sent;
      send(s);
    }
    receive_all(messages, [&](int s) {
      if (sent == messages) return;
      ++sent;
      send(s);
    });
  }

  void churn(std::uint64_t connections, std::uint64_t count) {
    std::uint64_t made = 0;
    const auto make = [&] {
      if (made == count) return;
      ++made;
      const int s = bench::connect_to(port_, next_host());
      watch(s);
      send(s);
    };
    for (std::uint64_t i = 0; i < connections; ++i) make();
    receive_all(count, [&](int s) {
      ::close(s);
      make();
    });
  }

private:
  /// The address to connect from. A closed connection keeps its port for a minute
  /// (TIME_WAIT), and one address has only 28,000 ports.
  std::uint32_t next_host() {
    constexpr std::uint32_t hosts = 200;
    return INADDR_LOOPBACK + host_++ % hosts;
  }

  void watch(int s) const {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = s;
    ::epoll_ctl(set_, EPOLL_CTL_ADD, s, &event);
  }

  template <class Function>
  void receive_all(std::uint64_t messages, Function received) {
    std::array<epoll_event, 256> events;
    while (messages != 0) {
      const int count = ::epoll_wait(set_, events.data(), events.size(), 10000);
      if (count == 0) {
        errno = ETIMEDOUT;
        fail("an answer");
      }
      for (int i = 0; i < count; ++i) {
        const int s = events[static_cast<std::size_t>(i)].data.fd;
        receive(s);
        --messages;
        received(s);
      }
    }
  }

  void send(int s) const {
    std::size_t done = 0;
    while (done < message_.size()) {
      const ssize_t n = ::write(s, message_.data() + done, message_.size() - done);
      if (n <= 0) fail("write");
      done += static_cast<std::size_t>(n);
    }
  }
  void receive(int s) {
    std::size_t done = 0;
    while (done < answer_.size()) {
      const ssize_t n = ::read(s, answer_.data() + done, answer_.size() - done);
      if (n <= 0) fail("read");
      done += static_cast<std::size_t>(n);
    }
    if (answer_ != message_) fail("another answer than the message");
  }

  int set_ = ::epoll_create1(EPOLL_CLOEXEC);
  const char* path_;  // of a Unix socket; null: TCP
  std::uint16_t port_;
  std::uint32_t host_ = 0;
  std::vector<char> message_;
  std::vector<char> answer_;
  std::vector<int> sockets_;
};

/// Keeps datagrams in flight on several sockets.
class udp_load {
public:
  udp_load(std::uint16_t port, std::uint64_t sockets) {
    for (std::uint64_t i = 0; i < sockets; ++i) {
      const int s = bench::udp_socket_on(0).socket;
      const sockaddr_in to = bench::loopback(port);
      if (::connect(s, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) fail("connect");
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.fd = s;
      ::epoll_ctl(set_, EPOLL_CTL_ADD, s, &event);
      sockets_.push_back(s);
    }
    for (std::size_t i = 0; i < window; ++i) {
      parts_[i] = {bytes_[i].data(), bytes_[i].size()};
      messages_[i].msg_hdr.msg_iov = &parts_[i];
      messages_[i].msg_hdr.msg_iovlen = 1;
    }
  }

  void echo(std::uint64_t messages) {
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    const auto send = [&](int s, std::uint64_t count) {
      for (std::uint64_t i = 0; i < count && sent < messages; ++i, ++sent) {
        if (::send(s, bytes_[0].data(), bytes_[0].size(), 0) < 0) fail("send");
      }
    };
    for (const int s : sockets_) send(s, window);
    std::array<epoll_event, 256> events;
    while (received < messages) {
      const int count = ::epoll_wait(set_, events.data(), events.size(), 10000);
      if (count == 0) {
        errno = ETIMEDOUT;
        fail("a datagram");
      }
      for (int i = 0; i < count; ++i) {
        const int s = events[static_cast<std::size_t>(i)].data.fd;
        const int n = ::recvmmsg(s, messages_.data(), window, 0, nullptr);
        if (n < 0) fail("recvmmsg");
        received += static_cast<std::uint64_t>(n);
        send(s, static_cast<std::uint64_t>(n));
      }
    }
  }

private:
  static constexpr unsigned window = 8;

  int set_ = ::epoll_create1(EPOLL_CLOEXEC);
  std::vector<int> sockets_;
  std::array<std::array<char, 64>, window> bytes_{};
  std::array<iovec, window> parts_{};
  std::array<mmsghdr, window> messages_{};
};

}  // namespace

int main(int count, char** words) {
  constexpr std::size_t churn_message = 64;
  if (count < 4 || count > 6) {
    std::fprintf(stderr,
                 "usage: %s PORT|PATH CONNECTIONS SIZE MESSAGES [SERVER]\n"
                 "       %s PORT CONNECTIONS churn COUNT [SERVER]\n"
                 "       %s PORT SOCKETS udp MESSAGES [SERVER]\n"
                 "       %s PORT CONNECTIONS idle\n",
                 words[0], words[0], words[0], words[0]);
    return 64;
  }
  const std::uint64_t connections = number(words[2]);
  const std::string_view what = words[3];
  const char* const server = count > 5 ? words[5] : nullptr;
  if (what == "idle") {
    load all(words[1], 1);
    all.connect(connections);
    all.echo(connections);
    std::puts("ready");
    std::fflush(stdout);
    for (;;) ::pause();
  }
  if (count < 5) return 64;
  if (what == "udp") {
    udp_load all(port_of(words[1]), connections);
    time_each(number(words[4]), connections, server, [&](std::uint64_t n) { all.echo(n); });
  } else if (what == "churn") {
    load all(words[1], churn_message);
    time_each(number(words[4]), connections, server,
              [&](std::uint64_t n) { all.churn(connections, n); });
  } else {
    load all(words[1], number(words[3]));
    all.connect(connections);
    time_each(number(words[4]), connections, server, [&](std::uint64_t n) { all.echo(n); });
  }
}
