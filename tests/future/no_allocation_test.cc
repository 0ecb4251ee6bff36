// SPDX-License-Identifier: BSD-2-Clause
// Tests that nothing in future/ calls malloc in the steady state, as <eddy/future/task.h>
// and its neighbours promise.
#include <array>
#include <coroutine>
#include <cstddef>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/future/adapt.h>
#include <eddy/future/block_on.h>
#include <eddy/future/flow/concurrent.h>
#include <eddy/future/flow/finally.h>
#include <eddy/future/flow/interval.h>
#include <eddy/future/flow/join_settled.h>
#include <eddy/future/flow/race_ok.h>
#include <eddy/future/flow/shared.h>
#include <eddy/future/flow/stop_token.h>
#include <eddy/future/future.h>
#include <eddy/future/join.h>
#include <eddy/future/promise.h>
#include <eddy/future/scope.h>
#include <eddy/future/select.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/future/until.h>
#include <eddy/future/yield.h>

#include "support/async_test.h"
#include "support/malloc_count.h"
#include "support/sanitized.h"
#include "support/socket_pair.h"

using namespace std::chrono_literals;

#if SANITIZED
// Under AddressSanitizer, eddy recycles no memory, so that a use after free is found, and
// malloc is the sanitizer's. There is nothing to count.
TEST_CASE("nothing allocates in the steady state (not measured under a sanitizer)") {}
#else

namespace {

int readable = -1;  // a descriptor

eddy::task<int> child(int n) { co_return n; }

eddy::task<int> grandchild(int n) {
  const int a = co_await child(n);
  co_await eddy::yield();
  co_return a;
}

eddy::task<> await_tasks(eddy::event_loop*) {
  const int n = co_await grandchild(1);
  CHECK(n == 1);
}

eddy::task<> spawn_one(eddy::event_loop*) {
  auto f = eddy::spawn(grandchild(1));
  const int n = co_await std::move(f);
  CHECK(n == 1);
}

eddy::task<> sleep_a_while(eddy::event_loop*) { co_await eddy::sleep(1ms); }

eddy::task<> keep_a_promise(eddy::event_loop* loop) {
  eddy::promise<int> p(*loop);
  auto f = p.get_future();
  p.set_value(1);
  const int n = co_await std::move(f);
  CHECK(n == 1);
}

eddy::task<> break_off(eddy::event_loop* loop) {
  eddy::promise<int> p(*loop);
  {
    auto f = p.get_future();
  }
  auto unfinished = eddy::spawn(grandchild(1));
  co_await eddy::yield();
}

eddy::task<> chain(eddy::event_loop*) {
  auto f = eddy::spawn(grandchild(1)).then([](int n) { return n + 1; }).then([](int n) {
    return grandchild(n);
  });
  const int n = co_await std::move(f);
  CHECK(n == 2);
}

eddy::task<> join_few(eddy::event_loop*) {
  auto [a, b, c] = co_await eddy::join(grandchild(1), grandchild(2), eddy::sleep(1ms));
  CHECK(a + b == 3);
}

eddy::task<> join_settled_few(eddy::event_loop*) {
  auto [a, b] = co_await eddy::join_settled(grandchild(1), grandchild(2));
  CHECK(*a + *b == 3);
}

eddy::task<> select_few(eddy::event_loop*) {
  auto first = co_await eddy::select(eddy::sleep(1ms), grandchild(2));
  CHECK(first.index() == 1);
}

eddy::task<> race_few(eddy::event_loop*) {
  const int n = co_await eddy::race_ok(grandchild(1), child(2));
  CHECK(n == 2);
}

eddy::task<> for_each_of_a_few(eddy::event_loop*) {
  static constexpr std::array numbers{1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  int sum = 0;
  auto add = [&sum](int n) -> eddy::task<> { sum += co_await grandchild(n); };
  co_await eddy::for_each_concurrent(numbers, 3, add);
  CHECK(sum == 55);
}

eddy::task<> share_one(eddy::event_loop*) {
  eddy::shared one(grandchild(1));
  auto [a, b] = co_await eddy::join(eddy::shared(one), eddy::shared(one));
  CHECK(a + b == 2);
}

eddy::task<> tick_twice(eddy::event_loop*) {
  eddy::interval ticks(1ms);
  co_await ticks.next();
  co_await ticks.next();
}

eddy::task<> adapt_one(eddy::event_loop*) {
  const int n = co_await eddy::adapt<int>([](eddy::completer<int> done) {
    done(1);
    return [] {};
  });
  CHECK(n == 1);
}

eddy::task<> limit_one(eddy::event_loop*) {
  const int n = co_await eddy::timeout(1s, grandchild(1));
  CHECK(n == 1);
}

eddy::task<> quiet(int n) {
  const int same = co_await grandchild(n);
  CHECK(same == n);
}

eddy::task<> use_a_scope(eddy::event_loop*) {
  eddy::scope s(2);
  for (int i = 0; i < 4; ++i) s.spawn(quiet, i);
  co_await s.join();
  const int n = co_await s.finish(grandchild(1));
  CHECK(n == 1);
  s.spawn(quiet(1));
}

eddy::task<> clean_up(eddy::event_loop*) {
  eddy::scope s;
  const int n = co_await eddy::finally(s, grandchild(1), quiet(2), 1s);
  CHECK(n == 1);
}

eddy::task<> detach_one(eddy::event_loop*) {
  eddy::spawn(quiet(1)).detach();
  for (int i = 0; i < 3; ++i) co_await eddy::yield();
}

eddy::task<> await_stop(eddy::stop_token token) { co_await token; }

eddy::task<> stop_some(eddy::event_loop*) {
  eddy::stop_source source;
  eddy::scope s;
  for (int i = 0; i < 2; ++i) s.spawn(await_stop, source.token());
  co_await eddy::yield();
  source.request_stop();
  co_await s.join();
}

struct by_hand {
  bool await_ready() { return false; }
  void await_suspend(std::coroutine_handle<> h) { h.resume(); }
  void await_resume() {}
};

eddy::task<> wait_for_a_descriptor(eddy::event_loop*) { co_await eddy::until_readable(readable); }

eddy::task<> await_foreign(eddy::event_loop*) { co_await by_hand(); }

}  // namespace

TEST_CASE_FIXTURE(async_fixture, "nothing allocates in the steady state") {
  using work = eddy::task<> (*)(eddy::event_loop*);
  const socket_pair pair;
  pair.send();
  readable = pair.near();
  work what = nullptr;
  SUBCASE("await tasks") { what = await_tasks; }
  SUBCASE("spawn") { what = spawn_one; }
  SUBCASE("sleep") { what = sleep_a_while; }
  SUBCASE("promise and future") { what = keep_a_promise; }
  SUBCASE("cancel tasks") { what = break_off; }
  SUBCASE("then") { what = chain; }
  SUBCASE("join a few") { what = join_few; }
  SUBCASE("join_settled of a few") { what = join_settled_few; }
  SUBCASE("select among a few") { what = select_few; }
  SUBCASE("race_ok of a few") { what = race_few; }
  SUBCASE("for_each_concurrent of a few") { what = for_each_of_a_few; }
  SUBCASE("shared") { what = share_one; }
  SUBCASE("interval") { what = tick_twice; }
  SUBCASE("adapt") { what = adapt_one; }
  SUBCASE("timeout") { what = limit_one; }
  SUBCASE("scope") { what = use_a_scope; }
  SUBCASE("finally") { what = clean_up; }
  SUBCASE("detach") { what = detach_one; }
  SUBCASE("stop_token") { what = stop_some; }
  SUBCASE("until_readable") { what = wait_for_a_descriptor; }
  SUBCASE("a foreign awaitable") { what = await_foreign; }

  struct program {
    static eddy::task<std::size_t> measure(work w, eddy::event_loop* on) {
      for (int i = 0; i < 10; ++i) co_await w(on);
      const std::size_t before = mallocs;
      for (int i = 0; i < 1000; ++i) co_await w(on);
      co_return mallocs - before;
    }
  };
  CHECK(eddy::block_on(loop, program::measure(what, &loop)) == 0);
}

#endif
