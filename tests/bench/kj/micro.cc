// SPDX-License-Identifier: BSD-2-Clause
// KJ, Cap'n Proto's event loop: promises without coroutines.
#include <chrono>
#include <cstdlib>

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

void then(const numbers& n) {
  auto io = kj::setupAsyncIo();
  bench::time_each("then", n[0], [&](std::uint64_t count) {
    kj::Promise<std::uint64_t> chain = std::uint64_t{0};
    for (std::uint64_t i = 0; i < count; ++i)
      chain = chain.then([](std::uint64_t v) { return v + 1; });
    if (chain.wait(io.waitScope) != count) std::abort();
  });
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
                         {"yield", {2, yields}},
                         {"future", {1, future}},
                         {"then", {1, then}},
                         {"sleep", {1, sleeps}},
                     });
}
