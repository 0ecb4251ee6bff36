// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// The code that the `lateness` programs of eddy and of epoll share. `lateness FLOOD SIZE
// MILLISECONDS` runs a timer of 1 ms beside a flood. The program prints how late the timer
// was, in microseconds, and how much work the flood did in a second:
//
//   writers median 61.2 worst 412.0 work 3187.4 MB/s

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/sockets.h"
#include "bench/workload.h"

namespace bench {

inline constexpr std::chrono::milliseconds period{1};
inline constexpr std::size_t piece_size = std::size_t{32} * 1024;  // of a bulk writer

// The loop and the thread at the other end of the flood run on different processors. On one
// processor, the scheduler would make the timer late.
inline constexpr unsigned loop_cpu = 0;
inline constexpr unsigned other_cpu = 1;

inline void keep_on(unsigned cpu, pthread_t thread) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  ::pthread_setaffinity_np(thread, sizeof set, &set);
}

/// Starts the thread at the other end of the flood.
template <class Function>
std::thread start_other(Function function) {
  std::thread other(std::move(function));
  keep_on(other_cpu, other.native_handle());
  return other;
}

using flood = void (*)(const numbers&);

/// The floods of one subject. Each subject implements all of them.
struct floods {
  flood nothing, writers, tasks, timers, reads, posts, awaits, pieces;
};

/// The `main` of both programs.
inline int lateness_main(int count, char** words, const floods& of) {
  keep_on(loop_cpu, ::pthread_self());
  const std::map<std::string_view, workload> known = {
      {"nothing", {2, of.nothing}}, {"writers", {2, of.writers}}, {"tasks", {2, of.tasks}},
      {"timers", {2, of.timers}},   {"reads", {2, of.reads}},     {"posts", {2, of.posts}},
      {"awaits", {2, of.awaits}},   {"pieces", {2, of.pieces}},
  };
  return main(count, words, known);
}

/// Records how late each tick of a timer was.
///
/// A late call counts for all ticks that were due before it: a loop that is blocked for 20 ms
/// is late for 20 ticks, not for one.
class lateness {
public:
  explicit lateness(std::uint64_t ticks) : ticks_(ticks) { late_.reserve(ticks); }

  /// The first tick is due at `first`.
  void start(clock::time_point first) {
    due_ = first;
    begin_ = first - period;
  }
  /// The time at which the next tick is due.
  [[nodiscard]] clock::time_point due() const { return due_; }

  /// Records a call of the timer's handler. True after the last tick.
  bool call() {
    const auto now = clock::now();
    for (; due_ <= now && late_.size() < ticks_; due_ += period) late_.push_back(now - due_);
    if (late_.size() < ticks_) return false;
    end_ = now;
    return true;
  }

  /// The time from the start to the last call.
  [[nodiscard]] double seconds() const { return nanoseconds(end_ - begin_) / 1e9; }

  /// `work` is the amount of work per second.
  void tell(const char* name, double work, const char* unit) {
    std::ranges::sort(late_);
    std::printf("%s median %.1f worst %.1f work %.4f %s\n", name,
                nanoseconds(late_[late_.size() / 2]) / 1e3, nanoseconds(late_.back()) / 1e3,
                work / 1e6, unit);
  }

private:
  std::uint64_t ticks_;
  clock::time_point begin_;
  clock::time_point due_;
  clock::time_point end_;
  std::vector<clock::duration> late_;
};

/// A TCP connection within this process: a non-blocking end for the loop, and a blocking end
/// for the other thread.
struct connected {
  explicit connected(const listener& at) : far(connect_to(at.port)) {
    pollfd ready{.fd = at.socket, .events = POLLIN, .revents = 0};
    ::poll(&ready, 1, -1);
    near = accept_from(at.socket);
    if (near < 0) fail("accept");
  }

  int far;
  int near;
};

/// Connections to a thread that reads all bytes as fast as they come.
///
/// Lifetime: close the sockets before destroying this object, which waits for the thread.
class readers {
public:
  explicit readers(std::uint64_t count) {
    const listener at = listen_on(0);
    for (std::uint64_t i = 0; i < count; ++i) {
      const connected made(at);
      near_.push_back(made.near);
      epoll_event e{};
      e.events = EPOLLIN;
      e.data.fd = made.far;
      ::epoll_ctl(set_, EPOLL_CTL_ADD, made.far, &e);
    }
    ::close(at.socket);
    thread_ = start_other([this] { read(); });
  }
  readers(const readers&) = delete;
  readers& operator=(const readers&) = delete;
  ~readers() {
    thread_.join();
    ::close(set_);
  }

  /// The non-blocking ends to write to.
  [[nodiscard]] const std::vector<int>& sockets() const { return near_; }
  [[nodiscard]] std::uint64_t received() const { return received_.load(std::memory_order_relaxed); }

private:
  void read() {
    constexpr std::size_t most = std::size_t{1} << 20;
    std::array<epoll_event, 64> events;
    for (std::size_t open = near_.size(); open != 0;) {
      const int count = ::epoll_wait(set_, events.data(), events.size(), -1);
      for (int i = 0; i < count; ++i) {
        const int s = events[static_cast<std::size_t>(i)].data.fd;
        // With MSG_TRUNC, the kernel drops the bytes without copying them.
        const ssize_t n = ::recv(s, nullptr, most, MSG_TRUNC);
        if (n > 0) {
          received_.fetch_add(static_cast<std::uint64_t>(n), std::memory_order_relaxed);
        } else {
          ::close(s);
          --open;
        }
      }
    }
  }

  int set_ = ::epoll_create1(EPOLL_CLOEXEC);
  std::vector<int> near_;
  std::atomic<std::uint64_t> received_ = 0;
  std::thread thread_;
};

/// A connection to a thread that never stops sending.
///
/// Lifetime: close the socket before destroying this object, which waits for the thread.
class sender {
public:
  sender() {
    const listener at = listen_on(0);
    const connected made(at);
    far_ = made.far;
    near_ = made.near;
    ::close(at.socket);
    thread_ = start_other([this] {
      const std::vector<char> bytes(std::size_t{64} * 1024);
      while (::send(far_, bytes.data(), bytes.size(), MSG_NOSIGNAL) > 0) {
      }
    });
  }
  sender(const sender&) = delete;
  sender& operator=(const sender&) = delete;
  ~sender() {
    thread_.join();
    ::close(far_);
  }

  /// The non-blocking end to read from.
  [[nodiscard]] int socket() const { return near_; }

private:
  int far_;
  int near_;
  std::thread thread_;
};

/// Keeps a posting thread at most `most` functions ahead of the loop, so that memory stays
/// bounded. At that bound, the thread pauses until half of the functions have run.
class pace {
public:
  explicit pace(std::uint64_t most) : most_(most), limit_(most) {}

  /// The thread calls this before each post. False if the thread must end.
  bool next() {
    if (posted_ == limit_) {
      while (!over_ && posted_ - ran() > most_ / 2) std::this_thread::yield();
      limit_ = ran() + most_;
    }
    ++posted_;
    return !over_.load(std::memory_order_relaxed);
  }

  /// Each posted function calls this.
  void count() { ran_.store(ran() + 1, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t ran() const { return ran_.load(std::memory_order_relaxed); }
  void end() { over_ = true; }

private:
  const std::uint64_t most_;
  std::uint64_t limit_;
  std::uint64_t posted_ = 0;
  std::atomic<bool> over_ = false;
  alignas(64) std::atomic<std::uint64_t> ran_ = 0;
};

/// The deadlines of many timers that are repeatedly due at the same time.
class bursts {
public:
  bursts(std::uint64_t timers, clock::time_point first) : timers_(timers), due_(first) {}

  /// Each timer calls this when it fires. Returns the timer's next deadline.
  clock::time_point fired() {
    const auto next = due_ + gap;
    if (++fired_ % timers_ == 0) {
      busy_ += clock::now() - due_;
      due_ = next;
    }
    return next;
  }

  /// The number of timers that fire per second, counted from the deadline to the last timer.
  [[nodiscard]] double rate() const {
    return static_cast<double>(fired_ / timers_ * timers_) / nanoseconds(busy_) * 1e9;
  }

private:
  static constexpr std::chrono::milliseconds gap{500};

  std::uint64_t timers_;
  std::uint64_t fired_ = 0;
  clock::time_point due_;
  clock::duration busy_{};
};

}  // namespace bench
