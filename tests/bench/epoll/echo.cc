// SPDX-License-Identifier: BSD-2-Clause
// epoll by hand: the limit.
#include "bench/echo.h"

#include <array>
#include <cerrno>
#include <string>
#include <unordered_map>
#include <vector>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

class echo_server {
public:
  explicit echo_server(const bench::echo_arguments& a)
      : listener_(bench::listen_at(a.port)), buffer_(a.buffer) {
    watch(EPOLL_CTL_ADD, listener_, EPOLLIN);
  }

  [[noreturn]] void run() {
    std::array<epoll_event, 256> events;
    for (;;) {
      const int count = ::epoll_wait(set_, events.data(), events.size(), -1);
      for (int i = 0; i < count; ++i) {
        const epoll_event& e = events[static_cast<std::size_t>(i)];
        if (e.data.fd == listener_) {
          accept();
        } else if ((e.events & EPOLLOUT) != 0) {
          write(e.data.fd);
        } else {
          read(e.data.fd);
        }
      }
    }
  }

private:
  void watch(int operation, int s, unsigned events) const {
    epoll_event e{};
    e.events = events;
    e.data.fd = s;
    ::epoll_ctl(set_, operation, s, &e);
  }

  void accept() {
    const int s = bench::accept_from(listener_);
    if (s >= 0) watch(EPOLL_CTL_ADD, s, EPOLLIN);
  }

  void read(int s) {
    const ssize_t size = ::read(s, buffer_.data(), buffer_.size());
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) return end(s);
    const ssize_t sent = ::send(s, buffer_.data(), static_cast<std::size_t>(size), MSG_NOSIGNAL);
    if (sent == size) return;
    if (sent < 0 && errno != EAGAIN) return end(s);
    const auto done = sent < 0 ? 0 : sent;
    late_[s].assign(buffer_.data() + done, static_cast<std::size_t>(size - done));
    watch(EPOLL_CTL_MOD, s, EPOLLOUT);
  }

  void write(int s) {
    std::string& rest = late_[s];
    const ssize_t sent = ::send(s, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) return;
    if (sent < 0) return end(s);
    rest.erase(0, static_cast<std::size_t>(sent));
    if (!rest.empty()) return;
    late_.erase(s);
    watch(EPOLL_CTL_MOD, s, EPOLLIN);
  }

  void end(int s) {
    late_.erase(s);
    ::close(s);
  }

  int set_ = ::epoll_create1(EPOLL_CLOEXEC);
  int listener_;
  std::vector<char> buffer_;
  std::unordered_map<int, std::string> late_;  // what the kernel had no room for
};

}  // namespace

int main(int count, char** words) { echo_server(bench::echo_main(count, words)).run(); }
