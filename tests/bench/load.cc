// SPDX-License-Identifier: BSD-2-Clause
//
// The load on an echo server, with epoll alone:
//
//   load PORT CONNECTIONS SIZE MESSAGES [SERVER]
//   load PORT CONNECTIONS idle
//
// The first keeps a message of SIZE bytes under way on each connection, until a
// tenth of MESSAGES as a warm-up, and then MESSAGES, have come back as they were
// sent. Of these it tells the time, and, if SERVER is its process, that one's
// processor time, both in nanoseconds a message:
//
//   wall 5012.3 cpu 3310.4
//
// The second says `ready` when the server has accepted them all, and stays.

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string_view>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "load: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

double nanoseconds_of(clockid_t clock) {
  std::timespec t{};
  if (::clock_gettime(clock, &t) != 0) fail("clock_gettime");
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

int connect_to(int port) {
  const int one = 1;
  const int s = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (s < 0) fail("socket");
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(s, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) fail("connect");
  ::setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return s;
}

class load {
public:
  load(int port, int connections, std::size_t size) : message_(size), answer_(size) {
    for (std::size_t i = 0; i < size; ++i) message_[i] = static_cast<char>(i * 7);
    for (int i = 0; i < connections; ++i) {
      sockets_.push_back(connect_to(port));
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.fd = sockets_.back();
      ::epoll_ctl(set_, EPOLL_CTL_ADD, sockets_.back(), &event);
    }
  }

  /// Each connection's first message means that the server has accepted it.
  void run(std::uint64_t messages) {
    std::uint64_t sent = 0;
    std::uint64_t come = 0;
    for (const int s : sockets_) {
      if (sent++ < messages) send(s);
    }
    sent = sent < messages ? sent : messages;
    std::array<epoll_event, 256> events;
    while (come < messages) {
      const int count = ::epoll_wait(set_, events.data(), events.size(), 10000);
      if (count == 0) {
        errno = ETIMEDOUT;
        fail("an answer");
      }
      for (int i = 0; i < count; ++i) {
        const int s = events[static_cast<std::size_t>(i)].data.fd;
        receive(s);
        ++come;
        if (sent < messages) {
          ++sent;
          send(s);
        }
      }
    }
  }

private:
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
  std::vector<char> message_;
  std::vector<char> answer_;
  std::vector<int> sockets_;
};

}  // namespace

int main(int count, char** words) {
  if (count == 4 && words[3] == std::string_view("idle")) {
    load all(std::atoi(words[1]), std::atoi(words[2]), 1);
    all.run(static_cast<std::uint64_t>(std::atoi(words[2])));
    std::puts("ready");
    std::fflush(stdout);
    for (;;) ::pause();
  }
  if (count != 5 && count != 6) {
    std::fprintf(stderr,
                 "usage: %s PORT CONNECTIONS SIZE MESSAGES [SERVER]\n"
                 "       %s PORT CONNECTIONS idle\n",
                 words[0], words[0]);
    return 64;
  }
  const auto messages = static_cast<std::uint64_t>(std::atoll(words[4]));
  load all(std::atoi(words[1]), std::atoi(words[2]), static_cast<std::size_t>(std::atoi(words[3])));
  all.run(messages / 10 + static_cast<std::uint64_t>(std::atoi(words[2])));
  clockid_t server = CLOCK_PROCESS_CPUTIME_ID;
  if (count == 6 && ::clock_getcpuclockid(std::atoi(words[5]), &server) != 0) fail("the server");

  const double cpu = nanoseconds_of(server);
  const double wall = nanoseconds_of(CLOCK_MONOTONIC);
  all.run(messages);
  const auto each = static_cast<double>(messages);
  const double wall_each = (nanoseconds_of(CLOCK_MONOTONIC) - wall) / each;
  const double cpu_each = (nanoseconds_of(server) - cpu) / each;
  std::printf("wall %.1f cpu %.1f\n", wall_each, cpu_each);
}
