// SPDX-License-Identifier: BSD-2-Clause
// Boost.Asio: timers, post and coroutines.
#include <chrono>
#include <cstdlib>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bench/workload.h"

namespace asio = boost::asio;
using asio::awaitable;
using asio::use_awaitable;
using bench::numbers;
using bench::time_each;
using namespace std::chrono_literals;

namespace {

using loop_type = asio::io_context;

void timer_reset(const numbers& n) {
  loop_type loop(1);
  std::vector<asio::steady_timer> timers;
  timers.reserve(n[0]);
  const auto start = [](asio::steady_timer& t) {
    t.expires_after(60s);
    t.async_wait([](const boost::system::error_code&) {});
  };
  for (std::uint64_t i = 0; i < n[0]; ++i) start(timers.emplace_back(loop));
  bench::random_numbers random;
  time_each("timer-reset", n[1], [&](std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      start(timers[random.below(n[0])]);
      if (i % 64 == 63) loop.poll();
    }
  });
}

void timer_expire(const numbers& n) {
  const auto run = [](std::uint64_t count) {
    loop_type loop(1);
    std::vector<asio::steady_timer> timers;
    timers.reserve(count);
    bench::random_numbers random;
    std::uint64_t fired = 0;
    const double begin = bench::processor_time();
    for (std::uint64_t i = 0; i < count; ++i) {
      auto& t = timers.emplace_back(loop);
      t.expires_after(std::chrono::microseconds(random.below(1000000)));
      t.async_wait([&](const boost::system::error_code&) { ++fired; });
    }
    loop.run();
    if (fired != count) std::abort();
    return (bench::processor_time() - begin) / static_cast<double>(count);
  };
  run(n[0] / 10 + 1);
  bench::tell("timer-expire", run(n[0]));
}

[[gnu::noinline]] awaitable<int> child(int n) { co_return n + 1; }

awaitable<void> calls(std::uint64_t count) {
  int n = 0;
  for (std::uint64_t i = 0; i < count; ++i) n = co_await child(n);
  if (n != static_cast<int>(count)) std::abort();
}

awaitable<void> spawns(std::uint64_t count) {
  const auto here = co_await asio::this_coro::executor;
  int n = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    n = co_await asio::co_spawn(here, child(n), use_awaitable);
  }
  if (n != static_cast<int>(count)) std::abort();
}

awaitable<void> turns(std::uint64_t rounds) {
  const auto here = co_await asio::this_coro::executor;
  for (std::uint64_t i = 0; i < rounds; ++i) co_await asio::post(here, use_awaitable);
}

void yields(const numbers& n) {
  const auto run = [&](std::uint64_t rounds) {
    loop_type loop(1);
    for (std::uint64_t i = 0; i < n[0]; ++i) asio::co_spawn(loop, turns(rounds), asio::detached);
    const auto begin = bench::clock::now();
    loop.run();
    return bench::nanoseconds(bench::clock::now() - begin) / static_cast<double>(n[0] * rounds);
  };
  run(n[1] / 10 + 1);
  bench::tell("yield", run(n[1]));
}

awaitable<void> joins(std::uint64_t count) {
  using namespace asio::experimental::awaitable_operators;
  for (std::uint64_t i = 0; i < count; ++i) co_await (child(1) && child(2));
}

awaitable<void> selects(std::uint64_t count) {
  using namespace asio::experimental::awaitable_operators;
  asio::steady_timer never(co_await asio::this_coro::executor, 1h);
  for (std::uint64_t i = 0; i < count; ++i) {
    co_await (never.async_wait(use_awaitable) || child(1));
  }
}

void post(const numbers& n) {
  loop_type loop(1);
  const auto run = [&](std::uint64_t count) {
    loop.restart();
    auto alive = asio::make_work_guard(loop);
    std::uint64_t left = count;
    bench::clock::time_point begin;
    std::thread other([&] {
      begin = bench::clock::now();
      for (std::uint64_t i = 0; i < count; ++i) {
        asio::post(loop, [&] {
          if (--left == 0) alive.reset();
        });
      }
    });
    loop.run();
    const auto end = bench::clock::now();
    other.join();
    return bench::nanoseconds(end - begin) / static_cast<double>(count);
  };
  run(n[0] / 10 + 1);
  bench::tell("post", run(n[0]));
}

void wake(const numbers& n) {
  loop_type loop(1);
  auto alive = asio::make_work_guard(loop);
  const int answer = ::eventfd(0, EFD_CLOEXEC);
  std::thread other([&] {
    time_each("wake", n[0], [&](std::uint64_t count) {
      for (std::uint64_t i = 0; i < count; ++i) {
        asio::post(loop, [&] { ::eventfd_write(answer, 1); });
        eventfd_t value = 0;
        ::eventfd_read(answer, &value);
      }
    });
    asio::post(loop, [&] { alive.reset(); });
  });
  loop.run();
  other.join();
  ::close(answer);
}

awaitable<void> asleep() {
  asio::steady_timer timer(co_await asio::this_coro::executor, 1h);
  co_await timer.async_wait(use_awaitable);
}

void sleeps(const numbers& n) {
  loop_type loop(1);
  for (std::uint64_t i = 0; i < n[0]; ++i) asio::co_spawn(loop, asleep(), asio::detached);
  loop.poll();
  std::puts("ready");
  std::fflush(stdout);
  loop.run();
}

/// A workload that is one coroutine.
template <class Coroutine>
bench::workload awaited(const char* name, Coroutine work) {
  return {1, [=](const numbers& n) {
            loop_type loop(1);
            time_each(name, n[0], [&](std::uint64_t count) {
              loop.restart();
              asio::co_spawn(loop, work(count), asio::detached);
              loop.run();
            });
          }};
}

}  // namespace

int main(int count, char** words) {
  return bench::main(count, words,
                     {
                         {"timer-reset", {2, timer_reset}},
                         {"timer-expire", {1, timer_expire}},
                         {"call", awaited("call", calls)},
                         {"spawn", awaited("spawn", spawns)},
                         {"yield", {2, yields}},
                         {"post", {1, post}},
                         {"wake", {1, wake}},
                         {"join", awaited("join", joins)},
                         {"select", awaited("select", selects)},
                         {"sleep", {1, sleeps}},
                     });
}
