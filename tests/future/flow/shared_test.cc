// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/flow/shared.h>.
#include <eddy/future/flow/shared.h>

#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/adapt.h>
#include <eddy/future/block_on.h>
#include <eddy/future/join.h>
#include <eddy/future/promise.h>
#include <eddy/future/scope.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/timeout.h>
#include <eddy/future/yield.h>

#include "support/async_test.h"
#include "support/counted.h"
#include "support/error_words.h"
#include "support/forked.h"
#include "support/journal.h"

using namespace std::chrono_literals;

namespace {

eddy::task<std::string> fetch(int* calls, eddy::duration delay) {
  ++*calls;
  if (delay != 0s) co_await eddy::sleep(delay);
  co_return "a page";
}

eddy::task<> fail(eddy::duration delay) {
  co_await eddy::sleep(delay);
  throw std::runtime_error("no page");
}

eddy::task<int> hold(counted) {
  co_await eddy::sleep(1h);
  co_return 1;
}

eddy::task<> read(eddy::shared<std::string> page, journal* note, int who) {
  const std::string& text = co_await page;
  CHECK(text == "a page");
  (*note)(who);
}

}  // namespace

ASYNC_TEST("the work runs once, and its waiters resume in order with its value") {
  int calls = 0;
  journal note;
  const auto before = clock.now();
  eddy::shared page(fetch(&calls, 1s));
  static_assert(std::is_same_v<decltype(page), eddy::shared<std::string>>);
  co_await eddy::join(read(page, &note, 1), read(page, &note, 2), read(page, &note, 3));
  CHECK(calls == 1);
  CHECK(note == "1 2 3");
  CHECK(clock.now() - before == 1s);
  CHECK(page.ready());

  const std::string& once = co_await page;
  const std::string& again = co_await page;
  CHECK(once == "a page");
  CHECK(&once == &again);
  CHECK(calls == 1);
}

ASYNC_TEST("a shared task starts at the first co_await") {
  int calls = 0;
  {
    eddy::shared never(fetch(&calls, 0s));
    co_await eddy::sleep(1s);
  }
  CHECK(calls == 0);
  eddy::shared page(fetch(&calls, 0s));
  co_await eddy::sleep(1s);
  CHECK(calls == 0);
  CHECK_FALSE(page.ready());
  const std::string& text = co_await page;
  CHECK(text == "a page");
  CHECK(calls == 1);
}

ASYNC_TEST("a shared future may have started or completed before") {
  int calls = 0;
  eddy::shared page(eddy::spawn(fetch(&calls, 0s)));
  co_await eddy::yield();
  co_await eddy::yield();
  CHECK(calls == 1);
  const std::string& text = co_await page;
  CHECK(text == "a page");

  eddy::promise<int> p;
  eddy::shared number(p.get_future());
  p.set_value(4);
  const int& four = co_await number;
  CHECK(four == 4);
}

ASYNC_TEST("a shared result may be void, a reference, or move-only") {
  eddy::shared nothing(eddy::sleep(1s));
  static_assert(std::is_same_v<decltype(nothing), eddy::shared<>>);
  co_await nothing;
  co_await nothing;

  int n = 0;
  auto refers = [](int& to) -> eddy::task<int&> { co_return to; };
  eddy::shared reference(refers(n));
  int& got = co_await reference;
  CHECK(&got == &n);

  auto boxed = []() -> eddy::task<std::unique_ptr<int>> { co_return std::make_unique<int>(4); };
  eddy::shared box(boxed());
  const std::unique_ptr<int>& four = co_await box;
  CHECK(*four == 4);
}

ASYNC_TEST("each waiter gets the error") {
  int caught = 0;
  eddy::shared broken(fail(1s));
  auto wait = [&caught](eddy::shared<> on) -> eddy::task<> {
    try {
      co_await on;
    } catch (const std::runtime_error& e) {
      CHECK(e.what() == std::string("no page"));
      ++caught;
    }
  };
  co_await eddy::join(wait(broken), wait(broken));
  co_await wait(broken);
  CHECK(caught == 3);
}

TEST_CASE_FIXTURE(async_fixture, "run throws an error that no waiter got") {
  std::string what;
  loop.on_exception([&](std::exception_ptr e) { what = words_of(e); });
  struct program {
    static eddy::task<> leave_early() {
      eddy::shared broken(fail(2s));
      auto waiter = [](eddy::shared<> on) -> eddy::task<> { co_await on; };
      auto first = eddy::spawn(waiter(broken));
      co_await eddy::sleep(1s);
      first = {};
      co_await eddy::sleep(2s);
      CHECK(broken.ready());
    }
    static eddy::task<> never_wait() {
      eddy::shared broken(eddy::spawn(fail(1s)));
      co_await eddy::sleep(2s);
    }
  };
  SUBCASE("the waiters were cancelled") { eddy::block_on(loop, program::leave_early()); }
  SUBCASE("nobody awaited the result") { eddy::block_on(loop, program::never_wait()); }
  loop.run();
  CHECK(what == "no page");
}

ASYNC_TEST("cancelling one waiter does not affect the others") {
  int calls = 0;
  journal note;
  eddy::shared page(fetch(&calls, 1s));
  auto first = eddy::spawn(read(page, &note, 1));
  auto second = eddy::spawn(read(page, &note, 2));
  auto third = eddy::spawn(read(page, &note, 3));
  co_await eddy::yield();
  CHECK(loop.dump().contains("a shared result\n"));
  second = {};
  co_await std::move(first);
  co_await std::move(third);
  CHECK(note == "1 3");
  CHECK(calls == 1);
}

ASYNC_TEST("destroying the last handle or waiter cancels the work") {
  int alive = 0;
  std::optional<eddy::shared<int>> handle;
  handle.emplace(hold(counted(alive)));
  auto wait = [](eddy::shared<int> on) -> eddy::task<> { co_await on; };
  auto waiter = eddy::spawn(wait(*handle));
  co_await eddy::yield();
  co_await eddy::yield();
  CHECK(alive == 1);
  SUBCASE("the handle is destroyed last") {
    waiter = {};
    CHECK(alive == 1);
    handle.reset();
  }
  SUBCASE("the waiter is destroyed last") {
    handle.reset();
    CHECK(alive == 1);
    waiter = {};
  }
  SUBCASE("before the work started") {
    waiter = {};
    handle.reset();
    handle.emplace(hold(counted(alive)));
    CHECK(alive == 1);
    handle.reset();
  }
  CHECK(alive == 0);
  CHECK(loop.count().timers == 0);
}

TEST_CASE_FIXTURE(async_fixture, "a task that destroyed itself does not start the work") {
  bool began = false;
  auto work = [&]() -> eddy::task<> {
    began = true;
    co_return;
  };
  eddy::shared<> handle(work());
  std::optional<eddy::future<>> self;
  auto drops = [&]() -> eddy::task<> {
    co_await eddy::yield();
    self.reset();
    co_await handle;
    FAIL_CHECK("a destroyed coroutine resumed");
  };
  self.emplace(eddy::spawn(loop, drops()));
  loop.run();
  CHECK_FALSE(began);
}

TEST_CASE_FIXTURE(async_fixture, "the work may destroy its last handle") {
  int alive = 0;
  std::optional<eddy::shared<>> handle;
  auto drops = [&](counted) -> eddy::task<> {
    co_await eddy::sleep(1s);
    handle.reset();
    co_await eddy::yield();
    FAIL_CHECK("a destroyed coroutine resumed");
  };
  handle.emplace(drops(counted(alive)));
  auto begins = [](eddy::shared<>* on) -> eddy::task<> {
    co_await eddy::timeout(1ms, eddy::shared(*on));
  };
  auto f = eddy::spawn(loop, begins(&*handle));
  loop.run();
  CHECK(alive == 0);
  CHECK_FALSE(std::move(f).take());
}

ASYNC_TEST("copies share one result, and combinators take a copy") {
  int calls = 0;
  const eddy::shared page(fetch(&calls, 1s));
  eddy::shared copy = page;
  eddy::shared other(eddy::sleep(1s));
  auto [text, nothing] = co_await eddy::join(eddy::shared(page), std::move(other));
  static_assert(std::is_same_v<decltype(text), const std::string&>);
  CHECK(text == "a page");
  copy = eddy::shared(fetch(&calls, 0s));
  CHECK(page.ready());
  CHECK_FALSE(copy.ready());
  CHECK(calls == 1);
}

TEST_CASE("awaiting a moved-from shared aborts the program") {
  dies_saying("a shared result was awaited after it was moved from", [] {
    struct program {
      static eddy::task<> wait() {
        eddy::shared one(eddy::yield());
        eddy::shared other = std::move(one);
        co_await one;  // NOLINT(bugprone-use-after-move)
      }
    };
    eddy::block_on(program::wait());
  });
}

TEST_CASE("awaiting a shared on another loop aborts the program") {
  dies_saying("a shared result was awaited on another loop than its own", [] {
    struct program {
      static eddy::task<> wait(eddy::shared<> on) { co_await on; }
    };
    eddy::shared one(eddy::yield());
    eddy::event_loop first;
    eddy::event_loop second;
    eddy::block_on(first, program::wait(one));
    eddy::block_on(second, program::wait(one));
  });
  dies_saying("a shared result was awaited on another loop than its own", [] {
    struct program {
      static eddy::task<> wait(eddy::shared<> on) { co_await on; }
    };
    eddy::event_loop first;
    eddy::event_loop second;
    eddy::block_on(second, program::wait(eddy::shared(eddy::spawn(first, eddy::yield()))));
  });
}

TEST_CASE("using, copying or destroying a shared on another thread aborts the program") {
  struct program {
    static eddy::task<> use(eddy::shared<> one, void (*use)(std::optional<eddy::shared<>>&)) {
      co_await one;
      std::optional last(std::move(one));
      std::thread([&] { use(last); }).join();
    }
  };
  const auto uses = [](void (*use)(std::optional<eddy::shared<>>&)) {
    dies_saying("used from another thread",
                [use] { eddy::block_on(program::use(eddy::shared(eddy::yield()), use)); });
  };
  uses([](auto& one) { static_cast<void>(one->ready()); });
  uses([](auto& one) { std::ignore = std::make_unique<eddy::shared<>>(*one).release(); });
  uses([](auto& one) { one.reset(); });
}

TEST_CASE("a shared may outlive its loop unless it has an untaken error") {
  struct program {
    static eddy::task<int> give() {
      co_await eddy::yield();
      co_return 7;
    }
    static eddy::task<> fail() {
      co_await eddy::sleep(1s);
      throw std::runtime_error("lost");
    }
    static eddy::task<> wait(eddy::shared<int> on) { co_await on; }
    static eddy::task<> wait(eddy::shared<> on) { co_await on; }
  };
  std::optional<eddy::shared<int>> one(std::in_place, program::give());
  {
    eddy::event_loop loop;
    eddy::block_on(loop, program::wait(*one));
  }
  std::thread([&] {
    CHECK(one->ready());
    one.reset();
  }).join();

  dies_saying("a shared result was destroyed after its loop, with an error that nobody took", [] {
    std::optional<eddy::shared<>> other(std::in_place, program::fail());
    {
      eddy::manual_clock clock(eddy::manual_clock::idle::jump);
      eddy::event_loop loop(clock);
      {
        const auto waits = eddy::spawn(loop, program::wait(*other));
        loop.run_ready();
      }
      loop.run();
    }
    other.reset();
  });
}

namespace {

/// While a dump describes this operation, another thread makes a dump of another loop.
struct described_by_dumps {
  auto operator()(eddy::completer<> /*done*/) const {
    return [] {};
  }
  std::string describe() const {
    std::thread([] {
      const eddy::event_loop other;
      static_cast<void>(other.dump());
    }).join();
    return "described";
  }
};

}  // namespace

TEST_CASE_FIXTURE(async_fixture,
                  "a dump shows a shared result once, even while another thread dumps") {
  struct program {
    static eddy::task<> nap() { co_await eddy::adapt(described_by_dumps()); }
    static eddy::task<> wait_for_all(std::vector<eddy::shared<>> below) {
      eddy::scope all;
      for (eddy::shared<>& one : below) all.spawn(wait(std::move(one)));
      co_await all.join();
    }
    static eddy::task<> wait(eddy::shared<> one) { co_await one; }
  };
  constexpr std::size_t width = 8;
  std::vector<eddy::shared<>> layer;
  for (int layers = 0; layers < 4; ++layers) {
    std::vector<eddy::shared<>> next;
    for (std::size_t i = 0; i < width; ++i) {
      if (layer.empty()) {
        next.emplace_back(program::nap());
      } else {
        next.emplace_back(program::wait_for_all(layer));
      }
    }
    layer = std::move(next);
  }
  const eddy::future<> all = eddy::spawn(loop, program::wait_for_all(layer));
  while (loop.run_ready()) {
  }
  const std::string dump = loop.dump();
  CHECK(dump.size() < 100'000);
  CHECK(dump.contains("a shared result, shown above\n"));
  CHECK(loop.dump() == dump);
}

TEST_CASE_FIXTURE(async_fixture, "run ignores the broken_promise of an unset promise") {
  const auto wait = [](eddy::shared<> on) -> eddy::task<> { co_await on; };
  auto promise = std::make_optional<eddy::promise<>>(loop);
  std::optional<eddy::shared<>> all(promise->get_future());
  {
    const eddy::future<> waits = eddy::spawn(loop, wait(*all));
    loop.run_ready();
  }
  promise.reset();
  loop.run();
  CHECK(all->ready());
  all.reset();
  loop.run();
}

namespace {

/// Calls `dropped` when the `left`-th moved-from object is destroyed.
struct acts_when_moved_from {
  static inline int living = 0;
  static inline int left = 0;
  static inline std::function<void()> dropped;

  bool full = true;

  acts_when_moved_from() { ++living; }
  acts_when_moved_from(acts_when_moved_from&& from) noexcept
      : full(std::exchange(from.full, false)) {
    ++living;
  }
  ~acts_when_moved_from() {
    --living;
    if (!full && --left == 0) dropped();
  }
};

}  // namespace

TEST_CASE_FIXTURE(async_fixture, "a destructor in the value may destroy the last handle") {
  struct program {
    static eddy::task<acts_when_moved_from> make() {
      acts_when_moved_from value;
      co_return std::move(value);
    }
    static eddy::task<> use() {
      const eddy::shared<acts_when_moved_from> all(make());
      co_await all;
    }
  };
  int moves = 0;
  for (bool dropped = true; dropped; ++moves) {
    dropped = false;
    eddy::future<> waits = eddy::spawn(loop, program::use());
    acts_when_moved_from::left = moves + 1;
    acts_when_moved_from::dropped = [&] {
      dropped = true;
      waits = {};
    };
    loop.run();
    waits = {};
    CHECK(acts_when_moved_from::living == 0);
  }
  CHECK(moves > 3);
}
