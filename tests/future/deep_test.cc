// SPDX-License-Identifier: BSD-2-Clause
// However deep work is nested, the stack holds: when it is made, when it is dropped and
// when it ends.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <pthread.h>
#include <sys/resource.h>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/detail/deep_stack.h>
#include <eddy/future/flow/concurrent.h>
#include <eddy/future/flow/finally.h>
#include <eddy/future/flow/join_settled.h>
#include <eddy/future/flow/race_ok.h>
#include <eddy/future/flow/retry.h>
#include <eddy/future/flow/shared.h>
#include <eddy/future/future.h>
#include <eddy/future/join.h>
#include <eddy/future/promise.h>
#include <eddy/future/scope.h>
#include <eddy/future/select.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>

#include "support/async_test.h"
#include "support/at_end.h"
#include "support/forked.h"
#include "support/sanitized.h"
#include "support/tidy.h"

using namespace std::chrono_literals;
using eddy::task;

namespace {

task<> nothing() { co_return; }
task<> wait_for(eddy::future<> end) { co_await std::move(end); }

// Each puts one level around the work that it is given.

task<> around_task(task<> inner) { co_await std::move(inner); }
task<> around_join(task<> inner) { co_await eddy::join(std::move(inner)); }
task<> around_join_of_range(task<> inner) {
  std::vector<task<>> all;
  all.push_back(std::move(inner));
  co_await eddy::join(std::move(all));
}
task<> around_join_settled(task<> inner) { co_await eddy::join_settled(std::move(inner)); }
task<> around_select(task<> inner) { co_await eddy::select(std::move(inner)); }
task<> around_race(task<> inner) { co_await eddy::race_ok(std::move(inner)); }
task<> around_range(task<> inner) {
  std::vector<int> one(1);
  const auto give = [&inner](int) { return std::move(inner); };
  co_await eddy::for_each_concurrent(std::move(one), 1, give);
}
task<> around_scope(task<> inner) {
  eddy::scope s;
  s.spawn(std::move(inner));
  co_await s.join();
}
task<> in_scope(eddy::scope& /*s*/, task<> inner) { co_await std::move(inner); }
task<> around_with_scope(task<> inner) { co_await eddy::with_scope(in_scope, std::move(inner)); }
task<> around_finish(task<> inner) {
  eddy::scope s;
  co_await s.finish(std::move(inner));
}
task<> around_shared(task<> inner) {
  const eddy::shared<> s(std::move(inner));
  co_await s;
}
task<> around_retry(task<> inner) {
  const eddy::retry_policy policy{.attempts = 1};
  const auto give = [&inner] { return std::move(inner); };
  co_await eddy::retry(policy, give);
}
task<> around_timeout(task<> inner) { co_await eddy::timeout(1h, std::move(inner)); }
task<> around_spawn(task<> inner) {
  eddy::future<> spawned = eddy::spawn(std::move(inner));
  co_await std::move(spawned);
}
task<> around_spawn_in_select(task<> inner) {
  eddy::future<> spawned = eddy::spawn(std::move(inner));
  co_await eddy::select(wait_for(std::move(spawned)));
}
task<> around_finally(task<> inner) {
  eddy::scope s;
  co_await eddy::finally(s, std::move(inner), nothing(), 1s);
}

using level = task<> (*)(task<>);
constexpr std::pair<const char*, level> levels[] = {
    {"task", &around_task},
    {"join", &around_join},
    {"join of a range", &around_join_of_range},
    {"join_settled", &around_join_settled},
    {"select", &around_select},
    {"race_ok", &around_race},
    {"for_each_concurrent", &around_range},
    {"scope", &around_scope},
    {"with_scope", &around_with_scope},
    {"finish", &around_finish},
    {"shared", &around_shared},
    {"retry", &around_retry},
    {"timeout", &around_timeout},
    {"spawn", &around_spawn},
    {"spawn in a select", &around_spawn_in_select},
    {"finally", &around_finally},
};

/// How a nest comes to its end.
enum class way { never_started, dropped, ended, failed };
constexpr way ways[] = {way::never_started, way::dropped, way::ended, way::failed};

/// Builds a nest, and ends it so. True if its end is what it has to be.
bool goes(level around, int depth, way how) {
  eddy::event_loop loop;
  eddy::promise<> end(loop);
  task<> work = wait_for(end.get_future());
  for (int i = 0; i < depth; ++i) work = around(std::move(work));
  if (how == way::never_started) return true;
  eddy::future<> result = eddy::spawn(loop, std::move(work));
  while (loop.run_ready()) {
  }
  if (result.ready()) return false;
  if (how == way::dropped) return true;
  if (how == way::ended) end.set_value();
  if (how == way::failed) end.set_error(std::make_exception_ptr(std::logic_error("so")));
  while (loop.run_ready()) {
  }
  if (!result.ready()) return false;
  const eddy::outcome<void> how_it_ended = std::move(result).take();
  return how_it_ended.has_value() == (how == way::ended || around == &around_join_settled);
}

// Sanitizers need some of it for themselves.
constexpr std::size_t small = SANITIZED != 0 ? 512 * 1024 : 64 * 1024;

/// Whether `work` is true on a thread whose stack has so many bytes.
template <class Work>
bool on_a_stack_of(std::size_t bytes, Work work) {
  struct call {
    Work& work;
    bool good = false;
  } c{work};
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstacksize(&attributes, bytes);
  pthread_t thread;
  const int error = ::pthread_create(
      &thread, &attributes,
      [](void* p) -> void* {
        auto& self = *static_cast<call*>(p);
        self.good = self.work();
        return nullptr;
      },
      &c);
  ::pthread_attr_destroy(&attributes);
  REQUIRE(error == 0);
  ::pthread_join(thread, nullptr);
  return c.good;
}

}  // namespace

TEST_CASE("work that is nested 10,000 deep is dropped, ends and fails on a small stack") {
  const std::size_t frames = eddy::frame_count();
  for (const auto& [what, around] : levels) {
    INFO(std::string(what));
    for (const way how : ways) {
      CHECK(on_a_stack_of(small, [&] { return goes(around, 10'000, how); }));
    }
  }
  CHECK(eddy::frame_count() == frames);
}

TEST_CASE("work that is nested a million deep is dropped, ends and fails") {
  if (SANITIZED != 0) return;  // a million of their frames do not fit into memory
  for (const level around : {&around_task, &around_join}) {
    for (const way how : ways) CHECK(goes(around, 1'000'000, how));
  }
}

TEST_CASE("destroying a deep nest looks for rings once, not anew at each level") {
  // Where each level walks all the way up, that takes minutes.
  for (const way how : ways) CHECK(goes(&around_spawn_in_select, 100'000, how));
}

TEST_CASE("dropping scopes in scopes looks at each level once, not at all levels around it") {
  // Where each level looks at all levels around it, that takes minutes.
  for (const way how : ways) CHECK(goes(&around_scope, 100'000, how));
}

TEST_CASE("a chain of a million then is dropped, ends and fails on a small stack") {
  for (const way how : {way::dropped, way::ended, way::failed}) {
    CHECK(on_a_stack_of(small, [how] {
      eddy::event_loop loop;
      eddy::promise<int> p(loop);
      eddy::future<int> f = p.get_future();
      for (int i = 0; i < 1'000'000; ++i) f = std::move(f).then([](int n) { return n + 1; });
      if (how == way::dropped) return true;
      if (how == way::ended) {
        p.set_value(0);
      } else {
        p.set_error(std::make_exception_ptr(std::logic_error("so")));
      }
      while (loop.run_ready()) {
      }
      if (!f.ready()) return false;
      const eddy::outcome<int> end = std::move(f).take();
      return how == way::ended ? end == 1'000'000 : !end.has_value();
    }));
  }
}

TEST_CASE("functions given to then that own one another's futures are dropped on a small stack") {
  CHECK(on_a_stack_of(small, [] {
    eddy::event_loop loop;
    std::vector<eddy::promise<int>> unset;
    eddy::future<int> f;
    for (int i = 0; i < 10'000; ++i) {
      auto own = [inner = std::move(f)](int n) { return n + (inner ? 1 : 0); };
      f = unset.emplace_back(loop).get_future().then(std::move(own));
    }
    f = {};
    return true;
  }));
}

TEST_CASE("the stacks that a deep nest was destroyed on are given back") {
  if (SANITIZED != 0) return;  // their memory comes and goes
  const auto pages = [] {
    std::size_t n = 0;
    std::ifstream("/proc/self/statm") >> n;
    return n;
  };
  const auto destroy = [] { CHECK(goes(&around_task, 100'000, way::never_started)); };
  destroy();
  const std::size_t before = pages();
  for (int i = 0; i < 10; ++i) destroy();
  // The first stack has 2048 pages.
  CHECK(pages() < before + 2048);
}

TEST_CASE("a nest is destroyed on the stack there is if there is no memory for another one") {
  if (SANITIZED != 0) return;  // they need memory to destroy
  CHECK(holds_in_child([] {
    // The system gives no more than there is, but for what was asked for before.
    return on_a_stack_of(std::size_t{64} * 1024 * 1024, [] {
      task<> work = nothing();
      for (int i = 0; i < 10'000; ++i) work = around_task(std::move(work));
      const struct rlimit none{.rlim_cur = 0, .rlim_max = RLIM_INFINITY};
      const struct rlimit all{.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
      if (::setrlimit(RLIMIT_AS, &none) != 0) return false;
      work = nothing();
      ::setrlimit(RLIMIT_AS, &all);
      return eddy::frame_count() == 1;
    });
  }));
}

namespace {

task<> with_end(at_end) { co_return; }

/// Calls `work` with so many bytes more of the stack in use.
template <class Work>
[[gnu::noinline]] void far_down(std::size_t bytes, Work work) {
  char used[1024];
  *static_cast<volatile char*>(used) = 0;
  if (bytes < sizeof used) return work();
  far_down(bytes - sizeof used, work);
  *static_cast<volatile char*>(used) = 0;
}

}  // namespace

TEST_CASE("the deeper a nest is, the larger are the stacks it is destroyed on") {
  std::size_t size = 0;
  task<> work = with_end(at_end([&] { size = eddy::detail::destroying_here.size; }));
  for (int i = 0; i < 300'000; ++i) work = around_task(std::move(work));
  work = nothing();
  CHECK(size > std::size_t{8} * 1024 * 1024);
}

TEST_CASE("a destructor may use much of the stack, however deep its task is nested") {
  struct needs_much {
    needs_much() noexcept = default;
    needs_much(const needs_much&) = delete;
    needs_much& operator=(const needs_much&) = delete;
    ~needs_much() {
      far_down(std::size_t{900} * 1024, [] {});
    }
  };
  struct program {
    static task<> nest(int depth) {
      const needs_much local;
      if (depth == 0) {
        co_await eddy::sleep(1h);
      } else {
        co_await eddy::join(nest(depth - 1), eddy::sleep(1h));
      }
    }
  };
  eddy::event_loop loop;
  for (const int depth : {1, 60, 400}) {
    const std::size_t frames = eddy::frame_count();
    eddy::future<> nest = eddy::spawn(loop, program::nest(depth));
    while (loop.run_ready()) {
    }
    nest = {};
    CHECK(eddy::frame_count() == frames);
  }
}

TEST_CASE("a task that is dropped far down the stack is destroyed on that stack") {
  std::size_t size = 1;
  const auto drop = [&] {
    const auto dropped = with_end(at_end([&] { size = eddy::detail::destroying_here.size; }));
  };
  drop();
  CHECK(size == 0);
  size = 1;
  far_down(std::size_t{64} * 1024, drop);
  CHECK(size == 0);
}

TEST_CASE("a function given to then that returns futures again and again takes little memory") {
  // Each round gives way to the next: what is left of a million of them is one.
  eddy::event_loop loop;
  int left = 1'000'000;
  std::size_t most = 0;
  std::function<eddy::future<int>(int)> again = [&](int n) -> eddy::future<int> {
    most = std::max({most, eddy::frame_count(), loop.count().tasks});
    eddy::promise<int> p(loop);
    eddy::future<int> f = p.get_future();
    p.set_value(n + 1);
    if (--left == 0) return f;
    return std::move(f).then(again);
  };
  eddy::promise<int> first(loop);
  eddy::future<int> f = first.get_future().then(again);
  first.set_value(0);
  while (loop.run_ready()) {
  }
  REQUIRE(f.ready());
  CHECK(std::move(f).take() == 1'000'000);
  CHECK(most <= 8);
}
