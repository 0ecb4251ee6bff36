// SPDX-License-Identifier: BSD-2-Clause
// Tests of the bound of a turn (loop/README.md) for coroutines: a coroutine whose awaits
// never suspend delays no timer, post or other task.
#include <algorithm>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/flow/concurrent.h>
#include <eddy/future/flow/finally.h>
#include <eddy/future/flow/interval.h>
#include <eddy/future/flow/join_settled.h>
#include <eddy/future/flow/race_ok.h>
#include <eddy/future/flow/retry.h>
#include <eddy/future/flow/shared.h>
#include <eddy/future/flow/stop_token.h>
#include <eddy/future/flow/task_local.h>
#include <eddy/future/future.h>
#include <eddy/future/join.h>
#include <eddy/future/promise.h>
#include <eddy/future/scope.h>
#include <eddy/future/select.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/future/yield.h>
#include <eddy/loop/timer.h>

#include "support/async_test.h"
#include "support/tidy.h"

using namespace std::chrono_literals;
using eddy::task;

namespace {

std::size_t rounds = 0;

task<int> one() { co_return 1; }
task<> none() { co_return; }
task<> none_of(int) { co_return; }

task<> awaits_tasks() {
  for (;; ++rounds) co_await one();
}
task<> awaits_tasks_in_tasks() {
  for (;; ++rounds) {
    task<> inner = [](task<int> t) -> task<> { co_await std::move(t); }(one());
    co_await std::move(inner);
  }
}
task<> awaits_futures() {
  for (;; ++rounds) {
    eddy::promise<int> p;
    eddy::future<int> f = p.get_future();
    p.set_value(1);
    co_await std::move(f);
  }
}
task<> awaits_a_shared() {
  const eddy::shared<int> s(one());
  for (;; ++rounds) co_await s;
}
task<> joins() {
  for (;; ++rounds) co_await eddy::join(one(), one());
}
task<> joins_none() {
  for (;; ++rounds) {
    std::vector<task<int>> empty;
    co_await eddy::join(std::move(empty));
  }
}
task<> joins_settled() {
  for (;; ++rounds) co_await eddy::join_settled(one());
}
task<> selects() {
  for (;; ++rounds) co_await eddy::select(one(), one());
}
task<> races() {
  for (;; ++rounds) co_await eddy::race_ok(one(), one());
}
task<> goes_through_ranges() {
  const std::vector<int> ten(10);
  for (;; ++rounds) co_await eddy::for_each_concurrent(ten, 2, &none_of);
}
task<> goes_through_one_long_range() {
  const std::vector<int> many(100'000);
  for (;; ++rounds) co_await eddy::for_each_concurrent(many, 2, &none_of);
}
task<> goes_through_a_range_at_once() {
  const std::vector<int> many(100'000);
  const auto count = [](int i) {
    ++rounds;
    return none_of(i);
  };
  for (;;) {
    auto going = eddy::for_each_concurrent(many, many.size(), count);
    co_await std::move(going);
  }
}
task<> joins_scopes() {
  for (;; ++rounds) {
    eddy::scope s;
    s.spawn(none());
    co_await s.join();
  }
}
task<> joins_empty_scopes() {
  for (;; ++rounds) {
    eddy::scope s;
    co_await s.join();
  }
}
task<> finishes() {
  eddy::scope s;
  for (;; ++rounds) co_await s.finish(one());
}
task<> cleans_up() {
  eddy::scope s;
  for (;; ++rounds) co_await eddy::finally(s, one(), none(), 1h);
}
task<> limits() {
  for (;; ++rounds) co_await eddy::timeout(1h, one());
}
task<> limits_of_no_time() {
  for (;; ++rounds) co_await eddy::as_result(eddy::timeout(0s, one()));
}
task<> has_locals() {
  static const eddy::task_local<int> local;
  for (;; ++rounds) co_await local.with(1, one());
}
task<> tries_again() {
  const eddy::retry_policy policy{.attempts = eddy::retry_policy::forever, .first_delay = 0s};
  co_await eddy::retry(policy, []() -> task<> {
    ++rounds;
    throw std::system_error(std::make_error_code(std::errc::connection_refused));
    co_return;
  });
}
task<> sleeps_no_time() {
  for (;; ++rounds) co_await eddy::sleep(0s);
}
task<> sleeps_until_long_ago() {
  for (;; ++rounds) co_await eddy::sleep_until(eddy::time_point::min());
}
task<> ticks() {
  eddy::interval tick(1ns, eddy::missed_ticks::burst);
  for (;; ++rounds) co_await tick.next();
}
task<> is_told_to_stop() {
  eddy::stop_source source;
  source.request_stop();
  for (;; ++rounds) {
    eddy::stop_token token = source.token();
    co_await token;
  }
}
struct never_waits {
  bool await_ready() { return false; }
  bool await_suspend(std::coroutine_handle<>) { return false; }
  void await_resume() {}
};
task<> awaits_what_is_not_eddys() {
  for (;; ++rounds) co_await never_waits();
}
task<> awaits_what_is_ready_and_not_eddys() {
  for (;; ++rounds) co_await std::suspend_never();
}
task<> yields() {
  for (;; ++rounds) co_await eddy::yield();
}

/// Takes a message; 0 if there is none.
task<int> take(int& message) { co_return std::exchange(message, 0); }
task<int> take_through(int& message) { co_return co_await take(message); }

task<> takes_by_task(int& from, int& into) { into = co_await take(from); }
task<> takes_by_task_in_task(int& from, int& into) { into = co_await take_through(from); }
task<> takes_by_result(int& from, int& into) {
  const auto r = co_await eddy::as_result(take(from));
  into = *r;
}
task<> takes_by_timeout(int& from, int& into) { into = co_await eddy::timeout(1h, take(from)); }
task<> takes_by_select(int& from, int& into) {
  auto r = co_await eddy::select(take(from), eddy::sleep(1h));
  into = std::get<0>(r);
}
task<> takes_by_race(int& from, int& into) {
  into = co_await eddy::race_ok(take(from), take_through(from));
}
task<> takes_by_map(int& from, int& into) {
  const std::vector<int> once(1);
  const auto take_one = [&from](int) { return take(from); };
  auto taking = eddy::map_concurrent(once, 2, take_one);
  const std::vector<int> all = co_await std::move(taking);
  into = all.front();
}
task<> takes_with_local(int& from, int& into) {
  static const eddy::task_local<int> local;
  into = co_await local.with(1, take(from));
}

using taker = task<> (*)(int& from, int& into);
constexpr std::pair<const char*, taker> takers[] = {
    {"a task", &takes_by_task},        {"a task in a task", &takes_by_task_in_task},
    {"as_result", &takes_by_result},   {"timeout", &takes_by_timeout},
    {"select", &takes_by_select},      {"race_ok", &takes_by_race},
    {"map_concurrent", &takes_by_map}, {"task_local", &takes_with_local},
};

/// The works that were given to `scope::finish` and awaited, and those that ran.
struct works {
  int given = 0;
  int done = 0;
};
task<> note_done(works& all) {
  ++all.done;
  co_return;
}

task<> finishes_one(eddy::scope& s, works& all) {
  ++all.given;
  co_await s.finish(note_done(all));
}
task<> finishes_with_limit(eddy::scope& s, works& all) {
  ++all.given;
  co_await eddy::timeout(1h, s.finish(note_done(all)));
}
task<> finishes_with_result(eddy::scope& s, works& all) {
  ++all.given;
  co_await eddy::as_result(s.finish(note_done(all)));
}
task<> finishes_with_local(eddy::scope& s, works& all) {
  static const eddy::task_local<int> local;
  ++all.given;
  co_await local.with(1, s.finish(note_done(all)));
}
task<> finishes_side_by_side(eddy::scope& s, works& all) {
  all.given += 2;
  co_await eddy::join(s.finish(note_done(all)), s.finish(note_done(all)));
}
task<> finishes_a_range(eddy::scope& s, works& all) {
  std::vector<task<>> range;
  for (; all.given < 100; ++all.given) range.push_back(s.finish(note_done(all)));
  co_await eddy::join(std::move(range));
}
task<> finishes_or_sleeps(eddy::scope& s, works& all) {
  ++all.given;
  co_await eddy::select(s.finish(note_done(all)), eddy::sleep(1h));
}
task<> finishes_each(eddy::scope& s, works& all) {
  const std::vector<int> ten(10);
  const auto finish_one = [&](int) {
    ++all.given;
    return s.finish(note_done(all));
  };
  co_await eddy::for_each_concurrent(ten, 5, finish_one);
}

using finisher = task<> (*)(eddy::scope& s, works& all);
constexpr std::pair<const char*, finisher> finishers[] = {
    {"a co_await", &finishes_one},        {"timeout", &finishes_with_limit},
    {"as_result", &finishes_with_result}, {"task_local", &finishes_with_local},
    {"join", &finishes_side_by_side},     {"join of a range", &finishes_a_range},
    {"select", &finishes_or_sleeps},      {"for_each_concurrent", &finishes_each},
};

using flood = task<> (*)();
constexpr std::pair<const char*, flood> floods[] = {
    {"tasks", &awaits_tasks},
    {"tasks in tasks", &awaits_tasks_in_tasks},
    {"futures", &awaits_futures},
    {"a shared", &awaits_a_shared},
    {"join", &joins},
    {"join of an empty range", &joins_none},
    {"join_settled", &joins_settled},
    {"select", &selects},
    {"race_ok", &races},
    {"ranges", &goes_through_ranges},
    {"one long range", &goes_through_one_long_range},
    {"a range without a limit", &goes_through_a_range_at_once},
    {"scopes", &joins_scopes},
    {"empty scopes", &joins_empty_scopes},
    {"finish", &finishes},
    {"finally", &cleans_up},
    {"timeout", &limits},
    {"timeout of zero", &limits_of_no_time},
    {"task_local", &has_locals},
    {"retry", &tries_again},
    {"sleep of zero", &sleeps_no_time},
    {"sleep until long ago", &sleeps_until_long_ago},
    {"interval", &ticks},
    {"stop_token", &is_told_to_stop},
    {"a foreign awaiter", &awaits_what_is_not_eddys},
    {"a ready foreign awaiter", &awaits_what_is_ready_and_not_eddys},
    {"yield", &yields},
};

}  // namespace

TEST_CASE_FIXTURE(with_still_loop,
                  "a coroutine that never suspends delays no timer, post or task") {
  for (const auto& [what, start] : floods) {
    INFO(std::string(what));
    clock.advance(1s);
    eddy::future<> all = eddy::spawn(loop, start());
    for (int turn = 0; turn < 10; ++turn) {
      const std::size_t before = rounds;
      bool timer_came = false;
      bool post_came = false;
      eddy::timer timer(loop);
      timer.start(0s, [&] { timer_came = true; });
      loop.post([&] { post_came = true; });
      eddy::future<> other = eddy::spawn(loop, none());
      loop.run_ready();
      CHECK(timer_came);
      CHECK(post_came);
      CHECK(other.ready());
      CHECK(rounds - before <= 1100);  // each await counts as an operation of the turn
    }
    all = {};
    while (loop.run_ready()) {
    }
  }
}

TEST_CASE_FIXTURE(with_still_loop, "the branches of a large range do not all start in one turn") {
  constexpr std::size_t many = 100'000;
  rounds = 0;
  std::vector<task<>> range;
  for (std::size_t i = 0; i < many; ++i) {
    range.push_back([]() -> task<> {
      ++rounds;
      co_return;
    }());
  }
  eddy::future<> all = eddy::spawn(loop, eddy::join(std::move(range)));
  loop.run_ready();
  CHECK(rounds > 0);
  CHECK(rounds < 1100);  // each branch counts as an operation of the turn
  while (loop.run_ready()) {
  }
  CHECK(rounds == many);
  CHECK(all.ready());
}

TEST_CASE_FIXTURE(with_still_loop, "a thousand coroutines that never suspend share each turn") {
  std::size_t done[1000] = {};
  std::vector<eddy::future<>> all;
  for (std::size_t& mine : done) {
    all.push_back(eddy::spawn(loop, [](std::size_t& count) -> task<> {
      for (;; ++count) co_await one();
    }(mine)));
  }
  for (int turn = 0; turn < 200; ++turn) loop.run_ready();
  const auto [least, most] = std::ranges::minmax(done);
  CHECK(least > 0);
  CHECK(most - least <= 64);
  all.clear();
}

ASYNC_TEST("foreign awaiters that never suspend need no turn of the loop") {
  for (int i = 0; i < 1000; ++i) {
    co_await never_waits();
    co_await std::suspend_never();
  }
  static_cast<void>(loop);
}

ASYNC_TEST("a due sleep wins a select against a branch that is always ready") {
  // One branch is a queue that is never empty. Time passes only when a round is done.
  std::size_t messages = 0;
  std::size_t ticks = 0;
  const eddy::time_point end = loop.now() + 100ms;
  while (clock.now() < end) {
    auto r = co_await eddy::select(eddy::sleep_until(loop.now()), one());
    ++(r.index() == 0 ? ticks : messages);
    clock.advance(1ms);
  }
  // At the end of a turn, the branch that needs no loop wins.
  CHECK(ticks >= 80);
  CHECK(messages <= 20);
}

namespace {

/// Cancels a task that is about to start as soon as it suspends, or after its end.
void cancel_next(eddy::event_loop& loop, eddy::future<>& work) {
  const eddy::future<> canceller = eddy::spawn(loop, [](eddy::future<>& which) -> task<> {
    which = {};
    co_return;
  }(work));
  while (loop.run_ready()) {
  }
  CHECK(canceller.ready());
}

}  // namespace

TEST_CASE_FIXTURE(
    with_still_loop,
    "a message that is taken as the turn ends is not lost if its waiter is cancelled") {
  for (const auto& [what, start] : takers) {
    std::size_t delivered = 0;
    for (int operations = 0; operations < 80; ++operations) {
      INFO(std::string(what), " after ", operations, " operations");
      int message = 1;
      int got = 0;
      eddy::future<> waiter = eddy::spawn(loop, [](int n, taker t, int& from, int& to) -> task<> {
        for (int i = 0; i < n; ++i) co_await none();
        co_await t(from, to);
      }(operations, start, message, got));
      cancel_next(loop, waiter);
      CHECK(message + got == 1);
      delivered += static_cast<std::size_t>(got);
    }
    CHECK(delivered > 0);
    CHECK(delivered < 80);
  }
}

TEST_CASE_FIXTURE(with_still_loop,
                  "work given to finish as the turn ends completes if its waiter is cancelled") {
  for (const auto& [what, start] : finishers) {
    for (int operations = 0; operations < 80; ++operations) {
      INFO(std::string(what), " after ", operations, " operations");
      works all;
      eddy::scope s(loop);
      eddy::future<> waiter =
          eddy::spawn(loop, [](int n, finisher begin, eddy::scope& in, works& w) -> task<> {
            for (int i = 0; i < n; ++i) co_await none();
            co_await begin(in, w);
          }(operations, start, s, all));
      cancel_next(loop, waiter);
      CHECK(all.done == all.given);
    }
  }
}

TEST_CASE_FIXTURE(with_still_loop, "a scope may be destroyed once finish is awaited") {
  struct program {
    static task<std::error_code> run(int operations, eddy::scope& s, bool& awaited) {
      for (int i = 0; i < operations; ++i) co_await none();
      awaited = true;
      const auto end = co_await eddy::as_result(s.finish(none()));
      co_return end ? std::error_code() : end.error();
    }
    static task<> destroy(std::unique_ptr<eddy::scope>& s, const bool& awaited) {
      while (!awaited) co_await eddy::yield();
      s.reset();
    }
  };
  for (int operations = 0; operations < 80; ++operations) {
    INFO("after ", operations, " operations");
    auto s = std::make_unique<eddy::scope>(loop);
    bool awaited = false;
    auto waiter = eddy::spawn(loop, program::run(operations, *s, awaited));
    // The loop runs this when the waiter suspends, and before the work.
    auto destroyer = eddy::spawn(loop, program::destroy(s, awaited));
    while (loop.run_ready()) {
    }
    CHECK(destroyer.ready());
    REQUIRE(waiter.ready());
    CHECK(std::move(waiter).take() == std::errc::operation_canceled);
  }
}
