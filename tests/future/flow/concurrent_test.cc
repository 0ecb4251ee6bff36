// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/flow/concurrent.h>.
#include <eddy/future/flow/concurrent.h>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <ranges>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/block_on.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/yield.h>
#include <eddy/loop/detail/block_pool.h>

#include "support/async_test.h"
#include "support/at_end.h"
#include "support/counted.h"
#include "support/forked.h"
#include "support/journal.h"

using namespace std::chrono_literals;

namespace {

struct load {
  int now = 0;
  int most = 0;
};

eddy::task<> work_for(load* on, eddy::duration d) {
  on->most = std::max(on->most, ++on->now);
  if (d != 0s) co_await eddy::sleep(d);
  --on->now;
}

eddy::task<int> twice(int n) {
  co_await eddy::sleep(1ms * (10 - n));
  co_return 2 * n;
}

eddy::task<> fail_at(int n, int bad, counted) {
  if (n == bad) throw std::runtime_error("bad");
  co_await eddy::sleep(1h);
}

}  // namespace

ASYNC_TEST("for_each_concurrent runs all calls, at most the limit at a time") {
  load on;
  const auto before = clock.now();
  int begun = 0;
  auto work = [&](eddy::duration d) {
    ++begun;
    return work_for(&on, d);
  };
  SUBCASE("the calls take equally long") {
    co_await eddy::for_each_concurrent(std::vector<eddy::duration>(10, 1s), 3, work);
    CHECK(begun == 10);
    CHECK(clock.now() - before == 4s);
  }
  SUBCASE("the next call starts when any earlier one completes") {
    const std::vector<eddy::duration> times{5s, 1s, 1s, 3s, 1s};
    co_await eddy::for_each_concurrent(times, 3, work);
    CHECK(begun == 5);
    CHECK(clock.now() - before == 5s);
  }
  SUBCASE("the calls complete at once") {
    co_await eddy::for_each_concurrent(std::vector<eddy::duration>(1000, 0s), 3, work);
    CHECK(begun == 1000);
    CHECK(clock.now() == before);
  }
  CHECK(on.now == 0);
  CHECK(on.most == (clock.now() == before ? 1 : 3));
}

ASYNC_TEST("for_each_concurrent takes an empty range, and a limit above its size") {
  load on;
  auto work = [&](eddy::duration d) { return work_for(&on, d); };
  co_await eddy::for_each_concurrent(std::vector<eddy::duration>(), 1, work);
  CHECK(on.most == 0);
  co_await eddy::for_each_concurrent(std::vector<eddy::duration>(5, 1s),
                                     static_cast<std::size_t>(-1), work);
  CHECK(on.most == 5);
}

ASYNC_TEST("the range is read only as far as calls are made") {
  journal note;
  auto numbers = std::views::iota(1) | std::views::transform([&](int n) {
                   note(n);
                   return n;
                 });
  auto ends = [](int n) -> eddy::task<> {
    if (n == 5) throw std::runtime_error("enough");
    co_await eddy::sleep(1s);
  };
  bool failed = false;
  try {
    co_await eddy::for_each_concurrent(numbers, 2, ends);
  } catch (const std::runtime_error&) {
    failed = true;
  }
  CHECK(failed);
  CHECK(note == "1 2 3 4 5");
}

ASYNC_TEST("the elements and the function live until the work completes") {
  std::vector<std::string> seen;
  auto look = [&seen, held = std::make_shared<int>(1)](const std::string& word) -> eddy::task<> {
    co_await eddy::sleep(1s);
    CHECK(*held == 1);
    seen.push_back(word);
  };
  SUBCASE("of a moved range") {
    std::vector<std::string> words{"a long enough word, a", "a long enough word, b"};
    auto all = eddy::for_each_concurrent(std::move(words), 2, std::move(look));
    co_await std::move(all);
  }
  SUBCASE("of an lvalue range") {
    const std::vector<std::string> words{"a long enough word, a", "a long enough word, b"};
    co_await eddy::for_each_concurrent(words, 2, std::move(look));
  }
  SUBCASE("of a range that makes its elements") {
    auto words = std::vector{'a', 'b'} | std::views::transform([](char c) {
                   return std::string("a long enough word, ") + c;
                 });
    co_await eddy::for_each_concurrent(std::move(words), 2, std::move(look));
  }
  SUBCASE("of a range that reuses one element") {
    std::istringstream text("a_long_enough_word,_a a_long_enough_word,_b");
    co_await eddy::for_each_concurrent(std::views::istream<std::string>(text), 2, std::move(look));
  }
  REQUIRE(seen.size() == 2);
  CHECK(seen[0].ends_with("a"));
  CHECK(seen[1].ends_with("b"));
}

ASYNC_TEST("the function may take an element that the range makes by value") {
  auto boxes = std::views::iota(0, 3) |
               std::views::transform([](int n) { return std::make_unique<int>(n); });
  auto open = [](std::unique_ptr<int> box) -> eddy::task<int> {
    co_await eddy::sleep(1s);
    co_return *box;
  };
  const auto values = co_await eddy::map_concurrent(boxes, 2, open);
  CHECK(values == std::vector{0, 1, 2});
}

ASYNC_TEST("map_concurrent gives the values in the range's order") {
  const std::vector numbers{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  const auto values = co_await eddy::map_concurrent(numbers, 4, twice);
  CHECK(values == std::vector{0, 2, 4, 6, 8, 10, 12, 14, 16, 18});
}

ASYNC_TEST("map_unordered gives the values in the order of completion") {
  const std::vector numbers{0, 9, 5, 7};
  const auto values = co_await eddy::map_unordered(numbers, 4, twice);
  CHECK(values == std::vector{18, 14, 10, 0});
  const auto two_at_once = co_await eddy::map_unordered(numbers, 2, twice);
  CHECK(two_at_once == std::vector{18, 10, 14, 0});
}

ASYNC_TEST("the maps keep references and move-only values") {
  std::vector numbers{1, 2};
  auto refer = [](int& n) -> eddy::task<int&> { co_return n; };
  const auto references = co_await eddy::map_concurrent(numbers, 2, refer);
  static_assert(
      std::is_same_v<decltype(references), const std::vector<std::reference_wrapper<int>>>);
  CHECK(&references[1].get() == &numbers[1]);

  auto boxed = [](int n) -> eddy::task<std::unique_ptr<int>> {
    co_return std::make_unique<int>(n);
  };
  const auto boxes = co_await eddy::map_unordered(numbers, 2, boxed);
  CHECK(*boxes[0] == 1);
}

ASYNC_TEST("the first error cancels the running calls and starts no more") {
  int alive = 0;
  int begun = 0;
  std::string what;
  const auto before = clock.now();
  const auto run = [&](eddy::task<> all) -> eddy::task<> {
    try {
      co_await std::move(all);
    } catch (const std::runtime_error& e) {
      what = e.what();
      CHECK(alive == 0);
    }
  };
  SUBCASE("an awaitable fails at once") {
    auto work = [&](int n) {
      ++begun;
      return fail_at(n, 3, counted(alive));
    };
    auto all = eddy::for_each_concurrent(std::views::iota(1, 100), 5, work);
    co_await run(std::move(all));
    CHECK(begun == 3);
  }
  SUBCASE("an awaitable fails later") {
    auto work = [&](int n) -> eddy::task<> {
      const counted held(alive);
      ++begun;
      co_await eddy::sleep(1s * n);
      if (n == 3) throw std::runtime_error("bad");
    };
    auto all = eddy::for_each_concurrent(std::views::iota(1, 100), 5, work);
    co_await run(std::move(all));
    CHECK(begun == 7);
    CHECK(clock.now() - before == 3s);
  }
  SUBCASE("the function throws") {
    auto work = [&](int n) {
      ++begun;
      if (n == 3) throw std::runtime_error("bad");
      return fail_at(n, 100, counted(alive));
    };
    auto all = eddy::for_each_concurrent(std::views::iota(1, 100), 5, work);
    co_await run(std::move(all));
    CHECK(begun == 3);
  }
  SUBCASE("the range throws") {
    auto made = std::views::iota(1, 100) | std::views::transform([](int n) {
                  if (n == 3) throw std::runtime_error("bad");
                  return n;
                });
    auto work = [&](int n) {
      ++begun;
      return fail_at(n, 100, counted(alive));
    };
    auto all = eddy::for_each_concurrent(made, 5, work);
    co_await run(std::move(all));
    CHECK(begun == 2);
  }
  CHECK(what == "bad");
  CHECK(loop.count().timers == 0);
}

ASYNC_TEST("calls that never suspend let other tasks run") {
  bool done = false;
  struct program {
    static eddy::task<> other(bool* flag) {
      *flag = true;
      co_return;
    }
  };
  auto f = eddy::spawn(program::other(&done));
  int left_when_done = -1;
  auto work = [&](int n) -> eddy::task<> {
    if (done && left_when_done < 0) left_when_done = n;
    co_return;
  };
  co_await eddy::for_each_concurrent(std::views::iota(0, 10000), 4, work);
  CHECK(left_when_done > 0);
  CHECK(left_when_done < 1000);
}

TEST_CASE_FIXTURE(async_fixture, "cancelling for_each_concurrent cancels the running calls") {
  int alive = 0;
  auto work = [&alive](int n) { return fail_at(n, 0, counted(alive)); };
  auto f = eddy::spawn(loop, eddy::for_each_concurrent(std::views::iota(1, 100), 5, work));
  SUBCASE("before the start") {}
  SUBCASE("while all calls are suspended") {
    loop.run_ready();
    CHECK(alive == 5);
    const auto tree = loop.dump();
    CHECK(tree.contains("all of\n"));
    CHECK(tree.contains("fail_at at concurrent_test.cc:"));
  }
  f = {};
  CHECK(alive == 0);
  CHECK(loop.count().timers == 0);
}

TEST_CASE_FIXTURE(async_fixture, "a call may cancel the whole operation") {
  eddy::future<> all;
  int alive = 0;
  auto work = [&](int n) -> eddy::task<> {
    const counted held(alive);
    co_await eddy::sleep(1s * n);
    all = {};
    co_await eddy::yield();
    FAIL_CHECK("a destroyed coroutine resumed");
  };
  all = eddy::spawn(loop, eddy::for_each_concurrent(std::views::iota(1, 100), 5, work));
  loop.run();
  CHECK(alive == 0);
}

TEST_CASE_FIXTURE(async_fixture, "run throws an error that came just before the cancellation") {
  struct program {
    static eddy::task<> fail(at_end) {
      co_await eddy::sleep(1s);
      throw std::runtime_error("bad");
    }
  };
  eddy::future<> all;
  auto work = [&](int) { return program::fail(at_end([&] { all = {}; })); };
  all = eddy::spawn(loop, eddy::for_each_concurrent(std::views::iota(0, 1), 1, work));
  CHECK_THROWS_WITH_AS(loop.run(), "bad", std::runtime_error);
  loop.run();
}

TEST_CASE_FIXTURE(async_fixture, "a long range needs no more memory than a short one") {
  const auto allocations_for = [&](std::size_t elements) {
    struct program {
      static eddy::task<> work(int) { co_await eddy::yield(); }
    };
    const std::vector<int> range(elements);
    const eddy::detail::failing_allocations counter(std::numeric_limits<std::size_t>::max(),
                                                    eddy::detail::failing_allocations::times::once);
    eddy::block_on(loop, eddy::for_each_concurrent(range, 2, &program::work));
    return counter.count();
  };
  // One allocation per element: its coroutine, which is destroyed before a later one starts.
  CHECK(allocations_for(1000) - allocations_for(100) == 900);
}

TEST_CASE("a limit of 0 aborts the program") {
  dies_saying("given a limit of 0", [] {
    auto work = [](int) -> eddy::task<> { co_return; };
    eddy::block_on(eddy::for_each_concurrent(std::vector{1}, 0, work));
  });
}
