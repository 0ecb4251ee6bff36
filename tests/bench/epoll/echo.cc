// SPDX-License-Identifier: BSD-2-Clause
// epoll by hand: the limit.
#include "bench/echo.h"

#include <array>
#include <cerrno>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace {

class echo_server {
public:
  explicit echo_server(const bench::echo_arguments& a)
      : listener_(bench::listen_at(a)), buffer_(a.buffer) {
    watch(EPOLL_CTL_ADD, listener_, EPOLLIN);
    if (a.variant == "idle") start_seconds();
  }

  [[noreturn]] void run() {
    std::array<epoll_event, 256> events;
    for (;;) {
      const int count = ::epoll_wait(set_, events.data(), events.size(), -1);
      for (int i = 0; i < count; ++i) {
        const epoll_event& e = events[static_cast<std::size_t>(i)];
        if (e.data.fd == listener_) {
          accept();
        } else if (e.data.fd == every_second_) {
          end_idle();
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

  /// Accepts all connections that are there. One at a time would cost an epoll_wait each.
  void accept() {
    for (int s = bench::accept_from(listener_); s >= 0; s = bench::accept_from(listener_)) {
      watch(EPOLL_CTL_ADD, s, EPOLLIN);
      if (every_second_ < 0) continue;
      const auto place = static_cast<std::size_t>(s);
      if (place >= heard_.size()) heard_.resize(place + 1);
      heard_[place] = second_;
    }
  }

  /// A timer that is never re-set counts the seconds. A message stores its second, and
  /// once a second the server looks at all connections.
  void start_seconds() {
    every_second_ = ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    itimerspec second{};
    second.it_value.tv_sec = second.it_interval.tv_sec = 1;
    ::timerfd_settime(every_second_, 0, &second, nullptr);
    watch(EPOLL_CTL_ADD, every_second_, EPOLLIN);
  }

  void end_idle() {
    std::uint64_t passed = 0;
    if (::read(every_second_, &passed, sizeof passed) != sizeof passed) return;
    second_ += static_cast<std::uint32_t>(passed);
    for (std::size_t s = 0; s < heard_.size(); ++s) {
      if (heard_[s] != 0 && second_ - heard_[s] > bench::idle_seconds) end(static_cast<int>(s));
    }
  }

  void read(int s) {
    const ssize_t size = ::read(s, buffer_.data(), buffer_.size());
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) return end(s);
    if (every_second_ >= 0) heard_[static_cast<std::size_t>(s)] = second_;
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
    if (every_second_ >= 0) heard_[static_cast<std::size_t>(s)] = 0;
    ::close(s);
  }

  int set_ = ::epoll_create1(EPOLL_CLOEXEC);
  int listener_;
  int every_second_ = -1;             // set only if idle connections are closed
  std::uint32_t second_ = 1;          // the current second
  std::vector<std::uint32_t> heard_;  // the second of each descriptor's last message; 0: not open
  std::vector<char> buffer_;
  std::unordered_map<int, std::string> late_;  // bytes that the kernel did not take
};

}  // namespace

int main(int count, char** words) { echo_server(bench::echo_main(count, words, {"idle"})).run(); }
