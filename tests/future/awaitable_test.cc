// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/awaitable.h>, with awaiters that are not eddy's ("foreign").
#include <eddy/future/awaitable.h>

#include <coroutine>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/future.h>
#include <eddy/future/join.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/yield.h>
#include <eddy/loop/timer.h>

#include "support/async_test.h"
#include "support/counted.h"
#include "support/forked.h"
#include "support/journal.h"

using namespace std::chrono_literals;

static_assert(eddy::awaitable<eddy::task<int>>);
static_assert(eddy::awaitable<eddy::future<>>);
static_assert(eddy::awaitable<decltype(eddy::sleep(1s))>);
static_assert(eddy::awaitable<std::suspend_never>);
static_assert(!eddy::awaitable<int>);
static_assert(!eddy::awaitable<eddy::task<int>&>);
static_assert(std::is_same_v<eddy::await_result_t<eddy::task<int&>>, int&>);

namespace {

/// An event as programs write it, without eddy, for any coroutine.
class event {
public:
  void set() {
    if (auto h = std::exchange(waiter_, nullptr)) h.resume();
  }

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) noexcept { waiter_ = h; }
  int await_resume() const noexcept { return 5; }

private:
  std::coroutine_handle<> waiter_;
};

eddy::task<int> wait(event* e, journal* note) {
  (*note)("waits");
  const int n = co_await *e;
  (*note)("goes on");
  co_return n;
}

/// A coroutine type that is not eddy's, with symmetric transfer.
class lazy {
public:
  struct promise_type {
    lazy get_return_object() { return lazy(handle::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    auto final_suspend() noexcept {
      struct back {
        bool await_ready() noexcept { return false; }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> h) noexcept {
          return h.promise().then;
        }
        void await_resume() noexcept {}
      };
      return back();
    }
    void return_value(int n) { value = n; }
    void unhandled_exception() { std::terminate(); }
    std::coroutine_handle<> then;
    int value = 0;
  };
  using handle = std::coroutine_handle<promise_type>;

  explicit lazy(handle h) : handle_(h) {}
  lazy(lazy&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  ~lazy() {
    if (handle_) handle_.destroy();
  }

  bool await_ready() { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> h) {
    handle_.promise().then = h;
    return handle_;
  }
  int await_resume() { return handle_.promise().value; }

private:
  handle handle_;
};

lazy add(int a, int b) { co_return a + b; }

struct not_after_all {
  bool await_ready() { return false; }
  bool await_suspend(std::coroutine_handle<>) { return false; }
  void await_resume() {}
};

struct at_once {
  bool await_ready() { return false; }
  void await_suspend(std::coroutine_handle<> h) { h.resume(); }
  void await_resume() {}
};

struct fails {
  bool await_ready() { return false; }
  void await_suspend(std::coroutine_handle<>) { throw std::runtime_error("no"); }
  void await_resume() {}
};

}  // namespace

TEST_CASE_FIXTURE(async_fixture,
                  "a foreign awaiter may resume a task from anywhere on the loop's thread") {
  journal note;
  event e;
  auto f = eddy::spawn(loop, wait(&e, &note));
  loop.run();
  CHECK(loop.dump().contains("wait at awaitable_test.cc:"));
  CHECK(loop.dump().contains("an awaiter that is not eddy's"));

  SUBCASE("outside the loop") { e.set(); }
  SUBCASE("in a timer's handler") {
    eddy::timer t(loop);
    t.start(1s, [&] {
      e.set();
      note("set");
    });
    loop.run();
    CHECK(note == "waits set goes on");
  }
  SUBCASE("in another task") {
    struct program {
      static eddy::task<> set(event* which) {
        which->set();
        co_return;
      }
    };
    eddy::block_on(loop, program::set(&e));
  }
  CHECK(eddy::block_on(loop, std::move(f)) == 5);
}

TEST_CASE_FIXTURE(async_fixture, "a task suspended in a foreign awaiter can be destroyed") {
  journal note;
  event e;
  auto f = eddy::spawn(loop, wait(&e, &note));
  loop.run();
  SUBCASE("before the awaiter resumes it") { f = {}; }
  SUBCASE("after the awaiter resumed it, before it runs") {
    e.set();
    f = {};
  }
  loop.run();
  CHECK(note == "waits");
}

TEST_CASE_FIXTURE(async_fixture, "a task that a handler resumed may destroy itself") {
  journal note;
  event e;
  eddy::future<> self;
  struct program {
    static eddy::task<> suicide(event* which, eddy::future<>* me, journal* to) {
      co_await *which;
      *me = {};
      (*to)("still here");
      co_await eddy::yield();
      (*to)("never");
    }
  };
  self = eddy::spawn(loop, program::suicide(&e, &self, &note));
  loop.run();
  loop.defer([&] { e.set(); });
  loop.run();
  CHECK(note == "still here");
}

TEST_CASE_FIXTURE(async_fixture, "a task that destroyed itself starts no other wait") {
  struct notes {
    journal* note;
    bool await_ready() {
      (*note)("asked");
      return false;
    }
    void await_suspend(std::coroutine_handle<>) { (*note)("begun"); }
    void await_resume() {}
  };
  struct program {
    static eddy::task<> suicide(eddy::future<>* me, journal* to) {
      *me = {};
      (*to)("still here");
      co_await notes(to);
      (*to)("never");
    }
  };
  journal note;
  eddy::future<> self;
  self = eddy::spawn(loop, program::suicide(&self, &note));
  loop.run();
  CHECK(note == "still here");
}

ASYNC_TEST("await_suspend may return void, bool or a coroutine handle") {
  const int three = co_await add(1, 2);
  CHECK(three == 3);
  co_await not_after_all();
  co_await at_once();
  co_await std::suspend_never();
  std::string what;
  try {
    co_await fails();
  } catch (const std::runtime_error& e) {
    what = e.what();
  }
  CHECK(what == "no");
  CHECK(loop.dump().contains("running"));
}

ASYNC_TEST("a foreign awaitable can be joined, spawned, and awaited with as_result") {
  auto [a, b] = co_await eddy::join(add(1, 2), add(3, 4));
  CHECK(a + b == 10);
  auto f = eddy::spawn(add(1, 2));
  const int three = co_await std::move(f);
  CHECK(three == 3);
  const auto r = co_await eddy::as_result(add(5, 6));
  CHECK(*r == 11);
}

ASYNC_TEST("a million awaits of foreign awaitables grow no stack and let other tasks run") {
  int turns = 0;
  auto counts = [](int* n) -> eddy::task<> {
    for (;;) {
      ++*n;
      co_await eddy::yield();
    }
  };
  auto other = eddy::spawn(counts(&turns));
  co_await eddy::yield();
  const void* const first = __builtin_frame_address(0);
  bool same = true;
  for (int i = 0; i < 250'000; ++i) {
    co_await std::suspend_never();
    co_await not_after_all();
    co_await at_once();
    const int n = co_await add(1, 2);
    same = same && n == 3 && __builtin_frame_address(0) == first;
  }
  CHECK(same);
  CHECK(turns > 1'000'000 / 130);
}

TEST_CASE("a foreign awaiter that resumes twice aborts") {
  struct twice {
    bool await_ready() { return false; }
    void await_suspend(std::coroutine_handle<> h) {
      h.resume();
      h.resume();
    }
    void await_resume() {}
  };
  struct program {
    static eddy::task<> wait() { co_await twice(); }
  };
  dies_saying("an awaiter resumed a coroutine twice for one await",
              [] { eddy::block_on(program::wait()); });
}

TEST_SUITE("threads") {
  TEST_CASE("a foreign awaiter that resumes on another thread aborts") {
    struct elsewhere {
      bool await_ready() { return false; }
      void await_suspend(std::coroutine_handle<> h) {
        std::thread([h] { h.resume(); }).join();
      }
      void await_resume() {}
    };
    struct program {
      static eddy::task<> wait() { co_await elsewhere(); }
    };
    dies_saying("was used from another thread", [] { eddy::block_on(program::wait()); });
  }
}
