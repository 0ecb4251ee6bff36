// SPDX-License-Identifier: BSD-2-Clause
// Deeply nested work never overflows the stack: not when it is built, cancelled or
// destroyed, and not when it completes or fails.
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
#include <eddy/future/with_scope.h>
#include <eddy/loop/detail/deep_stack.h>

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

// Each function puts one level around `inner`.

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

/// How a nest ends.
enum class ending { never_started, cancelled, completed, failed };
constexpr ending endings[] = {ending::never_started, ending::cancelled, ending::completed,
                              ending::failed};

/// Builds a nest and ends it as `how` says. True if its result is the expected one.
bool goes(level around, int depth, ending how) {
  eddy::event_loop loop;
  eddy::promise<> end(loop);
  task<> work = wait_for(end.get_future());
  for (int i = 0; i < depth; ++i) work = around(std::move(work));
  if (how == ending::never_started) return true;
  eddy::future<> result = eddy::spawn(loop, std::move(work));
  while (loop.run_ready()) {
  }
  if (result.ready()) return false;
  if (how == ending::cancelled) return true;
  if (how == ending::completed) end.set_value();
  if (how == ending::failed) end.set_error(std::make_exception_ptr(std::logic_error("so")));
  while (loop.run_ready()) {
  }
  if (!result.ready()) return false;
  const eddy::outcome<void> how_it_ended = std::move(result).take();
  return how_it_ended.has_value() == (how == ending::completed || around == &around_join_settled);
}

// Sanitizers need more stack.
constexpr std::size_t small = SANITIZED != 0 ? 512 * 1024 : 64 * 1024;
// AddressSanitizer takes longer for each level, the more there are.
constexpr int many_levels = SANITIZED != 0 ? 10'000 : 100'000;

/// Whether `work` returns true on a thread whose stack has `bytes`.
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

TEST_CASE("work nested 10,000 deep is cancelled, completes and fails on a small stack") {
  const std::size_t frames = eddy::frame_count();
  for (const auto& [what, around] : levels) {
    INFO(std::string(what));
    for (const ending how : endings) {
      CHECK(on_a_stack_of(small, [&] { return goes(around, 10'000, how); }));
    }
  }
  CHECK(eddy::frame_count() == frames);
}

TEST_CASE("work nested a million deep is cancelled, completes and fails") {
  if (SANITIZED != 0) return;  // a million frames of a sanitized build do not fit into memory
  for (const level around : {&around_task, &around_join}) {
    for (const ending how : endings) CHECK(goes(around, 1'000'000, how));
  }
}

TEST_CASE("destroying a deep nest searches it for rings once, not at each level") {
  // If each level were to search all levels above it, this would take minutes.
  for (const ending how : endings) CHECK(goes(&around_spawn_in_select, many_levels, how));
}

TEST_CASE("destroying nested scopes visits each level once") {
  // If each level were to visit all levels around it, this would take minutes.
  for (const ending how : endings) CHECK(goes(&around_scope, many_levels, how));
}

TEST_CASE("a chain of a million then is cancelled, completes and fails on a small stack") {
  for (const ending how : {ending::cancelled, ending::completed, ending::failed}) {
    CHECK(on_a_stack_of(small, [how] {
      eddy::event_loop loop;
      eddy::promise<int> p(loop);
      eddy::future<int> f = p.get_future();
      for (int i = 0; i < 1'000'000; ++i) f = std::move(f).then([](int n) { return n + 1; });
      if (how == ending::cancelled) return true;
      if (how == ending::completed) {
        p.set_value(0);
      } else {
        p.set_error(std::make_exception_ptr(std::logic_error("so")));
      }
      while (loop.run_ready()) {
      }
      if (!f.ready()) return false;
      const eddy::outcome<int> end = std::move(f).take();
      return how == ending::completed ? end == 1'000'000 : !end.has_value();
    }));
  }
}

TEST_CASE("then functions that own one another's futures are destroyed on a small stack") {
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

TEST_CASE("the extra stacks for destroying a deep nest are freed") {
  if (SANITIZED != 0) return;  // their own memory use varies
  const auto pages = [] {
    std::size_t n = 0;
    std::ifstream("/proc/self/statm") >> n;
    return n;
  };
  const auto destroy = [] { CHECK(goes(&around_task, 100'000, ending::never_started)); };
  destroy();
  const std::size_t before = pages();
  for (int i = 0; i < 10; ++i) destroy();
  // The first stack has 2048 pages.
  CHECK(pages() < before + 2048);
}

TEST_CASE("a nest is destroyed on the current stack if there is no memory for another") {
  if (SANITIZED != 0) return;  // sanitizers need memory to destroy
  CHECK(holds_in_child([] {
    // With this limit, the process can use only the memory that it has already.
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

/// Calls `work` with `bytes` more of the stack in use.
template <class Work>
[[gnu::noinline]] void far_down(std::size_t bytes, Work work) {
  char used[1024];
  *static_cast<volatile char*>(used) = 0;
  if (bytes < sizeof used) return work();
  far_down(bytes - sizeof used, work);
  *static_cast<volatile char*>(used) = 0;
}

}  // namespace

TEST_CASE("a deeper nest is destroyed on larger stacks") {
  std::size_t size = 0;
  task<> work = with_end(at_end([&] { size = eddy::detail::destroying_here.size; }));
  for (int i = 0; i < (SANITIZED != 0 ? 60'000 : 300'000); ++i) work = around_task(std::move(work));
  work = nothing();
  CHECK(size > std::size_t{8} * 1024 * 1024);
}

TEST_CASE("a destructor may use 900 KiB of stack, however deep its task is nested") {
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

TEST_CASE("a single task destroyed far down the stack is destroyed on that stack") {
  std::size_t size = 1;
  const auto drop = [&] {
    const auto destroyed = with_end(at_end([&] { size = eddy::detail::destroying_here.size; }));
  };
  drop();
  CHECK(size == 0);
  size = 1;
  far_down(std::size_t{64} * 1024, drop);
  CHECK(size == 0);
}

namespace {

task<> note(int& count) {
  ++count;
  co_return;
}

/// Calls `run` at each depth of a chain of tasks, and cancels the chain when it first suspends.
template <class Run>
void cancel_at_each_depth(Run run) {
  eddy::event_loop loop;
  for (int depth = 0; depth < 400; ++depth) {
    INFO("depth ", depth);
    eddy::scope s(loop);
    int begun = 0;
    int ended = 0;
    task<> work = run(s, begun, ended);
    for (int i = 0; i < depth; ++i) work = around_task(std::move(work));
    eddy::future<> chain = eddy::spawn(loop, std::move(work));
    eddy::future<> canceller = eddy::spawn(loop, [](eddy::future<>& f) -> task<> {
      f = {};
      co_return;
    }(chain));
    while (loop.run_ready()) {
    }
    CHECK(canceller.ready());
    CHECK(ended == begun);
  }
}

}  // namespace

TEST_CASE("work given to finish far down a stack completes if its waiter is cancelled") {
  cancel_at_each_depth([](eddy::scope& s, int& begun, int& ended) -> task<> {
    ++begun;
    co_await s.finish(note(ended));
  });
}

TEST_CASE("a caller that is cancelled far down a stack gets its clean-up") {
  cancel_at_each_depth([](eddy::scope& s, int& begun, int& ended) -> task<> {
    ++begun;
    co_await eddy::finally(s, eddy::sleep(1h), note(ended), 1s);
  });
}

TEST_CASE("finally can be the work of finally 10,000 times on a small stack") {
  CHECK(on_a_stack_of(small, [] {
    eddy::event_loop loop;
    eddy::scope s(loop);
    int cleaned = 0;
    task<> work = nothing();
    for (int i = 0; i < 10'000; ++i) work = eddy::finally(s, std::move(work), note(cleaned), 1h);
    eddy::future<> all = eddy::spawn(loop, std::move(work));
    while (loop.run_ready()) {
    }
    return all.ready() && cleaned == 10'000;
  }));
}

TEST_CASE("a then function that returns a million futures in turn keeps memory bounded") {
  // Each round's future replaces the one before, so that a million rounds keep one.
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
