// SPDX-License-Identifier: BSD-2-Clause
// libev: timers, and ev_async with a locked queue, as ev(3) advises.
#include <cstdlib>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <ev.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bench/workload.h"

using bench::numbers;
using bench::time_each;

namespace {

void timer_reset(const numbers& n) {
  struct ev_loop* const loop = ev_loop_new(EVBACKEND_EPOLL);
  std::vector<ev_timer> timers(n[0]);
  for (ev_timer& t : timers) {
    ev_timer_init(&t, [](struct ev_loop*, ev_timer*, int) {}, 60., 60.);
    ev_timer_start(loop, &t);
  }
  bench::random_numbers random;
  time_each("timer-reset", n[1], [&](std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      ev_timer_again(loop, &timers[random.below(n[0])]);
      if (i % 64 == 63) ev_run(loop, EVRUN_NOWAIT);
    }
  });
  for (ev_timer& t : timers) ev_timer_stop(loop, &t);
  ev_loop_destroy(loop);
}

std::uint64_t fired = 0;

void timer_expire(const numbers& n) {
  const auto run = [](std::uint64_t count) {
    struct ev_loop* const loop = ev_loop_new(EVBACKEND_EPOLL);
    std::vector<ev_timer> timers(count);
    bench::random_numbers random;
    fired = 0;
    const double begin = bench::processor_time();
    for (ev_timer& t : timers) {
      ev_timer_init(
          &t, [](struct ev_loop*, ev_timer*, int) { ++fired; },
          static_cast<double>(random.below(1000000)) * 1e-6, 0.);
      ev_timer_start(loop, &t);
    }
    ev_run(loop, 0);
    if (fired != count) std::abort();
    const double used = bench::processor_time() - begin;
    ev_loop_destroy(loop);
    return used / static_cast<double>(count);
  };
  run(n[0] / 10 + 1);
  bench::tell("timer-expire", run(n[0]));
}

/// Functions that other threads post.
class inbox {
public:
  explicit inbox(struct ev_loop* loop) : loop_(loop) {
    ev_async_init(&async_,
                  [](struct ev_loop*, ev_async* a, int) { static_cast<inbox*>(a->data)->take(); });
    async_.data = this;
    ev_async_start(loop_, &async_);
  }
  ~inbox() { ev_async_stop(loop_, &async_); }
  inbox(const inbox&) = delete;
  inbox& operator=(const inbox&) = delete;

  void post(std::function<void()> f) {
    {
      const std::scoped_lock lock(guard_);
      come_.push_back(std::move(f));
    }
    ev_async_send(loop_, &async_);
  }

private:
  void take() {
    {
      const std::scoped_lock lock(guard_);
      come_.swap(taken_);
    }
    for (auto& f : taken_) f();
    taken_.clear();
  }

  struct ev_loop* loop_;
  ev_async async_;
  std::mutex guard_;
  std::vector<std::function<void()>> come_;
  std::vector<std::function<void()>> taken_;
};

void post(const numbers& n) {
  struct ev_loop* const loop = ev_loop_new(EVBACKEND_EPOLL);
  inbox in(loop);
  const auto run = [&](std::uint64_t count) {
    std::uint64_t left = count;
    bench::clock::time_point begin;
    std::thread other([&] {
      begin = bench::clock::now();
      for (std::uint64_t i = 0; i < count; ++i) {
        in.post([&] {
          if (--left == 0) ev_break(loop, EVBREAK_ALL);
        });
      }
    });
    ev_run(loop, 0);
    const auto end = bench::clock::now();
    other.join();
    return bench::nanoseconds(end - begin) / static_cast<double>(count);
  };
  run(n[0] / 10 + 1);
  bench::tell("post", run(n[0]));
}

void wake(const numbers& n) {
  struct ev_loop* const loop = ev_loop_new(EVBACKEND_EPOLL);
  inbox in(loop);
  const int answer = ::eventfd(0, EFD_CLOEXEC);
  std::thread other([&] {
    time_each("wake", n[0], [&](std::uint64_t count) {
      for (std::uint64_t i = 0; i < count; ++i) {
        in.post([&] { ::eventfd_write(answer, 1); });
        eventfd_t value = 0;
        ::eventfd_read(answer, &value);
      }
    });
    in.post([&] { ev_break(loop, EVBREAK_ALL); });
  });
  ev_run(loop, 0);
  other.join();
  ::close(answer);
}

}  // namespace

int main(int count, char** words) {
  return bench::main(count, words,
                     {
                         {"timer-reset", {2, timer_reset}},
                         {"timer-expire", {1, timer_expire}},
                         {"post", {1, post}},
                         {"wake", {1, wake}},
                     });
}
