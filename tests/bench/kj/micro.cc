// SPDX-License-Identifier: BSD-2-Clause
// KJ, Cap'n Proto's event loop: promises without coroutines.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

#include <kj/async-io.h>
#include <kj/timer.h>
#include <kj/vector.h>

#include "bench/workload.h"

using bench::numbers;

namespace {

kj::Promise<void> turns(std::uint64_t left) {
  if (left == 0) return kj::READY_NOW;
  return kj::evalLater([left] { return turns(left - 1); });
}

void yields(const numbers& n) {
  auto io = kj::setupAsyncIo();
  const auto run = [&](std::uint64_t rounds) {
    kj::Vector<kj::Promise<void>> all;
    for (std::uint64_t i = 0; i < n[0]; ++i) all.add(turns(rounds));
    const auto begin = bench::clock::now();
    kj::joinPromises(all.releaseAsArray()).wait(io.waitScope);
    return bench::nanoseconds(bench::clock::now() - begin) / static_cast<double>(n[0] * rounds);
  };
  run(n[1] / 10 + 1);
  bench::tell("yield", run(n[1]));
}

void future(const numbers& n) {
  auto io = kj::setupAsyncIo();
  bench::time_each("future", n[0], [&](std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      auto both = kj::newPromiseAndFulfiller<int>();
      both.fulfiller->fulfill(1);
      if (both.promise.wait(io.waitScope) != 1) std::abort();
    }
  });
}

/// Runs chains of at most a hundred links, one after the other: KJ evaluates a chain by recursion,
/// and a chain of thousands of links overflows the stack.
void then(const numbers& n) {
  auto io = kj::setupAsyncIo();
  bench::time_each("then", n[0], [&](std::uint64_t count) {
    std::uint64_t done = 0;
    while (done != count) {
      const std::uint64_t links = std::min<std::uint64_t>(count - done, 100);
      kj::Promise<std::uint64_t> chain = done;
      for (std::uint64_t i = 0; i < links; ++i) {
        chain = chain.then([](std::uint64_t v) { return v + 1; });
      }
      done = chain.wait(io.waitScope);
    }
  });
}

void spawn(const numbers& n) {
  auto io = kj::setupAsyncIo();
  bench::time_each("spawn", n[0], [&](std::uint64_t count) {
    std::uint64_t v = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
      v = kj::evalLater([v] { return v + 1; }).wait(io.waitScope);
    }
    if (v != count) std::abort();
  });
}

void join(const numbers& n) {
  auto io = kj::setupAsyncIo();
  bench::time_each("join", n[0], [&](std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      auto both = kj::heapArrayBuilder<kj::Promise<int>>(2);
      both.add(1);
      both.add(2);
      kj::joinPromises(both.finish()).wait(io.waitScope);
    }
  });
}

void first_of(const numbers& n) {
  auto io = kj::setupAsyncIo();
  bench::time_each("select", n[0], [&](std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      kj::Promise<int>(kj::NEVER_DONE).exclusiveJoin(1).wait(io.waitScope);
    }
  });
}

/// A timer of KJ's is a promise. To move the timer, the program replaces the promise.
void timer_reset(const numbers& n) {
  auto io = kj::setupAsyncIo();
  kj::Timer& timer = io.provider->getTimer();
  kj::Vector<kj::Promise<void>> timers(n[0]);
  for (std::uint64_t i = 0; i < n[0]; ++i) timers.add(timer.afterDelay(60 * kj::SECONDS));
  bench::random_numbers random;
  bench::time_each("timer-reset", n[1], [&](std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      timers[random.below(n[0])] = timer.afterDelay(60 * kj::SECONDS);
      if (i % 64 == 63) io.waitScope.poll();
    }
  });
}

void timer_expire(const numbers& n) {
  const auto run = [](std::uint64_t count) {
    auto io = kj::setupAsyncIo();
    kj::Timer& timer = io.provider->getTimer();
    kj::Vector<kj::Promise<void>> timers(count);
    bench::random_numbers random;
    std::uint64_t fired = 0;
    const double begin = bench::processor_time();
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto delay = static_cast<std::int64_t>(random.below(1000000)) * kj::MICROSECONDS;
      timers.add(timer.afterDelay(delay).then([&fired] { ++fired; }));
    }
    kj::joinPromises(timers.releaseAsArray()).wait(io.waitScope);
    if (fired != count) std::abort();
    return (bench::processor_time() - begin) / static_cast<double>(count);
  };
  run(n[0] / 10 + 1);
  bench::tell("timer-expire", run(n[0]));
}

/// A call on another thread's loop is a promise on the caller's loop and takes a kilobyte until
/// the caller has waited for it. The caller therefore waits after each thousand calls.
void post(const numbers& n) {
  auto io = kj::setupAsyncIo();
  const kj::Executor& here = kj::getCurrentThreadExecutor();
  const auto run = [&](std::uint64_t count) {
    auto last = kj::newPromiseAndFulfiller<void>();
    std::uint64_t left = count;
    bench::clock::time_point begin;
    std::thread other([&] {
      auto own = kj::setupAsyncIo();
      begin = bench::clock::now();
      for (std::uint64_t todo = count; todo != 0;) {
        const std::uint64_t some = std::min<std::uint64_t>(todo, 1000);
        auto calls = kj::heapArrayBuilder<kj::Promise<void>>(some);
        for (std::uint64_t i = 0; i < some; ++i) {
          calls.add(here.executeAsync([&] {
            if (--left == 0) last.fulfiller->fulfill();
          }));
        }
        kj::joinPromises(calls.finish()).wait(own.waitScope);
        todo -= some;
      }
    });
    last.promise.wait(io.waitScope);
    const auto end = bench::clock::now();
    other.join();
    return bench::nanoseconds(end - begin) / static_cast<double>(count);
  };
  run(n[0] / 10 + 1);
  bench::tell("post", run(n[0]));
}

/// executeSync returns when the other thread has answered.
void wake(const numbers& n) {
  auto io = kj::setupAsyncIo();
  const kj::Executor& here = kj::getCurrentThreadExecutor();
  auto over = kj::newPromiseAndFulfiller<void>();
  std::thread other([&] {
    bench::time_each("wake", n[0], [&](std::uint64_t count) {
      for (std::uint64_t i = 0; i < count; ++i) here.executeSync([] {});
    });
    here.executeSync([&] { over.fulfiller->fulfill(); });
  });
  over.promise.wait(io.waitScope);
  other.join();
}

void sleeps(const numbers& n) {
  auto io = kj::setupAsyncIo();
  kj::Vector<kj::Promise<void>> all;
  for (std::uint64_t i = 0; i < n[0]; ++i) {
    all.add(io.provider->getTimer().afterDelay(1 * kj::HOURS));
  }
  std::puts("ready");
  std::fflush(stdout);
  kj::joinPromises(all.releaseAsArray()).wait(io.waitScope);
}

}  // namespace

int main(int count, char** words) {
  return bench::main(count, words,
                     {
                         {"timer-reset", {2, timer_reset}},
                         {"timer-expire", {1, timer_expire}},
                         {"spawn", {1, spawn}},
                         {"yield", {2, yields}},
                         {"post", {1, post}},
                         {"wake", {1, wake}},
                         {"future", {1, future}},
                         {"then", {1, then}},
                         {"join", {1, join}},
                         {"select", {1, first_of}},
                         {"sleep", {1, sleeps}},
                     });
}
