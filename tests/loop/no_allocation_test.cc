// SPDX-License-Identifier: BSD-2-Clause
// Tests that the steady state calls no malloc, and of <eddy/loop/detail/block_pool.h>.
#include <algorithm>
#include <array>
#include <barrier>
#include <csignal>
#include <cstddef>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/loop/before_wait.h>
#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/signal.h>
#include <eddy/loop/timer.h>

#include "support/malloc_count.h"
#include "support/sanitized.h"
#include "support/tidy.h"

using namespace std::chrono_literals;

#if SANITIZED
// Under AddressSanitizer nothing is recycled, so that a use after free is found, and malloc is the
// sanitizer's. So there is nothing to count.
TEST_CASE("the steady state does not allocate (not measurable under a sanitizer)") {}
#else

TEST_CASE_FIXTURE(with_loop, "starting and calling a before_wait allocates nothing") {
  eddy::before_wait hook(loop);
  int calls = 0;
  const auto turn = [&] {
    hook.start_once([&calls] { ++calls; });
    loop.run_ready();
  };
  turn();
  const std::size_t before = mallocs;
  for (int i = 0; i < 100; ++i) turn();
  CHECK(mallocs == before);
  CHECK(calls == 101);
}

TEST_CASE("a block is reused for any size with the same chunk size of malloc") {
  for (const auto [least, most] : {std::array<std::size_t, 2>{9, 24}, {25, 40}, {57, 72}}) {
    void* const block = eddy::detail::allocate(least);
    eddy::detail::deallocate(block, least);
    CHECK(eddy::detail::allocate(most) == block);
    eddy::detail::deallocate(block, most);
  }
}

TEST_CASE("the kept memory of all sizes together is bounded") {
  std::thread([] {
    std::vector<std::pair<void*, std::size_t>> blocks;
    for (std::size_t size = 16; size <= 2048; size += 16) {
      for (int i = 0; i < 1000; ++i) blocks.emplace_back(eddy::detail::allocate(size), size);
    }
    std::size_t bytes = 0;
    for (const auto& [block, size] : blocks) bytes += size;
    for (const auto& [block, size] : blocks) eddy::detail::deallocate(block, size);
    const std::size_t before = mallocs;
    std::size_t kept = 0;
    for (auto& [block, size] : blocks) {
      const std::size_t at = mallocs;
      block = eddy::detail::allocate(size);
      if (mallocs == at) kept += size;
    }
    CHECK(kept <= std::size_t{4} << 20);
    CHECK(bytes > std::size_t{100} << 20);
    CHECK(mallocs > before);
    for (const auto& [block, size] : blocks) eddy::detail::deallocate(block, size);
  }).join();
}

TEST_CASE("the kept memory of one size is bounded") {
  std::thread([] {
    constexpr std::size_t size = 1000;
    constexpr std::size_t many = 8000;
    constexpr std::size_t kept = 4 << 20;
    std::vector<void*> blocks(many);
    for (auto& block : blocks) block = eddy::detail::allocate(size);
    for (void* const block : blocks) eddy::detail::deallocate(block, size);
    const std::size_t before = mallocs;
    for (auto& block : blocks) block = eddy::detail::allocate(size);
    CHECK(mallocs - before >= many - kept / size);
    CHECK(mallocs - before <= many - kept / (size + 16));
    for (void* const block : blocks) eddy::detail::deallocate(block, size);
  }).join();
}

TEST_CASE("a block may be freed by another thread, even as that ends") {
  static constexpr std::size_t size = 100;
  struct last {
    void* block = nullptr;
    ~last() { eddy::detail::deallocate(block, size); }
  };
  void* const block = eddy::detail::allocate(size);
  std::thread([&] {
    thread_local last mine;  // goes after the lists, which are made later
    mine.block = block;
    eddy::detail::deallocate(eddy::detail::allocate(size), size);
  }).join();
}

TEST_CASE("an ending thread frees its kept blocks, and the next thread gets its lists") {
  const auto lists_of_a_thread = [] {
    const eddy::detail::pool* mine = nullptr;
    std::thread([&] {
      for (const std::size_t size : {100, 200}) {
        eddy::detail::deallocate(eddy::detail::allocate(size), size);
      }
      mine = eddy::detail::pool_here;
    }).join();
    return mine;
  };
  const eddy::detail::pool* const first = lists_of_a_thread();
  CHECK(std::ranges::all_of(first->first, [](const void* list) { return list == nullptr; }));
  CHECK(lists_of_a_thread() == first);
}

TEST_CASE("blocks returned by another thread are bounded, and count as kept") {
  std::thread([] {
    constexpr std::size_t size = 1000;
    constexpr std::size_t many = 8000;
    std::vector<void*> blocks(many);
    const auto allocate_all = [&] {
      std::size_t kept = 0;
      for (auto& block : blocks) {
        const std::size_t before = mallocs;
        block = eddy::detail::allocate(size);
        if (mallocs == before) ++kept;
      }
      return kept;
    };
    CHECK(allocate_all() == 0);
    eddy::detail::block_exchange back(size);
    for (void* const block : blocks) back.give(block);
    back.offer();
    back.refill();
    const std::size_t reused = allocate_all();
    CHECK(reused > 0);
    CHECK(reused <= (std::size_t{1} << 20) / size);
    for (void* const block : blocks) eddy::detail::deallocate(block, size);
    CHECK(allocate_all() <= (std::size_t{4} << 20) / size);
    for (void* const block : blocks) eddy::detail::deallocate(block, size);
  }).join();
}

TEST_CASE("a loop with signals reuses the slot of an earlier loop") {
  const auto cost = [] {
    const std::size_t before = mallocs;
    eddy::event_loop loop;
    eddy::signal usr1(loop, SIGUSR1);
    usr1.start([] {});
    usr1.stop();
    return mallocs - before;
  };
  for (int i = 0; i < 3; ++i) static_cast<void>(cost());
  const std::size_t usual = cost();
  eddy::event_loop other;
  eddy::signal held(other, SIGUSR1);
  held.start([] {});
  CHECK(cost() > usual);
  held.stop();
}

// On a clock that stands still, so that no turn ends by time on a busy machine: work that is left
// to the next turn needs chunks of its own.
TEST_CASE_FIXTURE(with_still_loop,
                  "posting from another thread allocates nothing in the steady state") {
  constexpr int rounds = 1000;
  std::barrier turn(2);
  std::size_t before = 0;
  std::size_t after = 0;
  int ran = 0;
  std::thread other([&, remote = loop.handle()] {
    for (int round = 0; round < rounds; ++round) {
      if (round == 10) before = mallocs;
      for (int i = 0; i < 100; ++i) remote.post([&ran] { ++ran; });
      after = mallocs;
      turn.arrive_and_wait();
      turn.arrive_and_wait();
    }
  });
  for (int round = 0; round < rounds; ++round) {
    turn.arrive_and_wait();
    loop.run_ready();
    turn.arrive_and_wait();
  }
  other.join();
  CHECK(ran == 100 * rounds);
  CHECK(before == after);
}

TEST_CASE_FIXTURE(with_loop, "the steady state does not allocate") {
  eddy::timer timer(loop);
  std::size_t before = 0;
  const auto repeat = [&](auto work) {
    for (int i = 0; i < 10; ++i) work();
    before = mallocs;
    for (int i = 0; i < 1000; ++i) work();
    CHECK(mallocs == before);
  };
  SUBCASE("deferring") {
    repeat([&] {
      loop.defer([] {});
      loop.run_ready();
    });
  }
  SUBCASE("starting timers") {
    repeat([&] {
      loop.defer([&] { timer.start(0s, [] {}); });
      loop.run();
    });
  }
  SUBCASE("posting") {
    repeat([&] {
      loop.post([] {});
      loop.run_ready();
    });
  }
}

#endif
