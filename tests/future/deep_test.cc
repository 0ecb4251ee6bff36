// SPDX-License-Identifier: BSD-2-Clause
// However deep work is nested, the stack holds: when it is made, when it is dropped and
// when it ends.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <pthread.h>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/concurrent.h>
#include <eddy/future/finally.h>
#include <eddy/future/future.h>
#include <eddy/future/join.h>
#include <eddy/future/join_settled.h>
#include <eddy/future/promise.h>
#include <eddy/future/race_ok.h>
#include <eddy/future/retry.h>
#include <eddy/future/scope.h>
#include <eddy/future/select.h>
#include <eddy/future/shared.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>

#include "support/async_test.h"
#include "support/sanitized.h"
#include "support/tidy.h"

using namespace std::chrono_literals;
using eddy::task;

namespace {

/// What the innermost of each nest awaits.
struct bottom {
  explicit bottom(eddy::event_loop& loop) : end(loop) {}

  eddy::promise<> end;
  eddy::shared<> reached{end.get_future()};
};

task<> wait_at(bottom& b) {
  eddy::shared<> reached = b.reached;
  co_await reached;
}

task<> nest_task(bottom& b, int depth) {
  if (depth == 0) {
    co_await wait_at(b);
    co_return;
  }
  co_await nest_task(b, depth - 1);
}
task<> nest_join(bottom& b, int depth) {
  if (depth == 0) {
    co_await wait_at(b);
    co_return;
  }
  co_await eddy::join(nest_join(b, depth - 1));
}
task<> nest_join_of_range(bottom& b, int depth) {
  if (depth == 0) {
    co_await wait_at(b);
    co_return;
  }
  std::vector<task<>> all;
  all.push_back(nest_join_of_range(b, depth - 1));
  co_await eddy::join(std::move(all));
}
task<> nest_join_settled(bottom& b, int depth) {
  if (depth == 0) {
    co_await wait_at(b);
    co_return;
  }
  co_await eddy::join_settled(nest_join_settled(b, depth - 1));
}
task<> nest_select(bottom& b, int depth) {
  if (depth == 0) {
    co_await wait_at(b);
    co_return;
  }
  co_await eddy::select(nest_select(b, depth - 1));
}
task<> nest_race(bottom& b, int depth) {
  if (depth == 0) {
    co_await wait_at(b);
    co_return;
  }
  co_await eddy::race_ok(nest_race(b, depth - 1));
}
task<> nest_range(bottom& b, int depth) {
  if (depth == 0) {
    co_await wait_at(b);
    co_return;
  }
  std::vector<int> one{depth - 1};
  const auto deeper = [&b](int d) { return nest_range(b, d); };
  co_await eddy::for_each_concurrent(std::move(one), 1, deeper);
}
task<> nest_scope(bottom& b, int depth) {
  if (depth == 0) {
    co_await wait_at(b);
    co_return;
  }
  eddy::scope s;
  s.spawn(nest_scope(b, depth - 1));
  co_await s.join();
}
task<> nest_with_scope(bottom& b, int depth);
task<> in_scope(eddy::scope& /*s*/, bottom* b, int depth) { co_await nest_with_scope(*b, depth); }
task<> nest_with_scope(bottom& b, int depth) {
  if (depth == 0) {
    co_await wait_at(b);
    co_return;
  }
  bottom* const same = &b;
  const int less = depth - 1;
  co_await eddy::with_scope(in_scope, same, less);
}
task<> nest_finish(bottom& b, int depth) {
  if (depth == 0) {
    co_await wait_at(b);
    co_return;
  }
  eddy::scope s;
  co_await s.finish(nest_finish(b, depth - 1));
}
task<int> shared_nest(bottom& b, int depth) {
  if (depth == 0) {
    co_await wait_at(b);
    co_return 1;
  }
  eddy::shared<int> s(shared_nest(b, depth - 1));
  const int r = co_await s;
  co_return r;
}
task<> nest_shared(bottom& b, int depth) { co_await shared_nest(b, depth); }
task<> nest_retry(bottom& b, int depth) {
  if (depth == 0) {
    co_await wait_at(b);
    co_return;
  }
  const eddy::retry_policy policy{.attempts = 1};
  const auto again = [&b, depth] { return nest_retry(b, depth - 1); };
  co_await eddy::retry(policy, again);
}
task<> nest_timeout(bottom& b, int depth) {
  if (depth == 0) {
    co_await wait_at(b);
    co_return;
  }
  co_await eddy::timeout(1h, nest_timeout(b, depth - 1));
}
task<> nest_spawn(bottom& b, int depth) {
  if (depth == 0) {
    co_await wait_at(b);
    co_return;
  }
  eddy::future<> inner = eddy::spawn(nest_spawn(b, depth - 1));
  co_await std::move(inner);
}
task<> nothing() { co_return; }
task<> nest_finally(bottom& b, int depth) {
  if (depth == 0) {
    co_await wait_at(b);
    co_return;
  }
  eddy::scope s;
  co_await eddy::finally(s, nest_finally(b, depth - 1), nothing(), 1s);
}

using nest = task<> (*)(bottom&, int);
constexpr std::pair<const char*, nest> nests[] = {
    {"task", &nest_task},
    {"join", &nest_join},
    {"join of a range", &nest_join_of_range},
    {"join_settled", &nest_join_settled},
    {"select", &nest_select},
    {"race_ok", &nest_race},
    {"for_each_concurrent", &nest_range},
    {"scope", &nest_scope},
    {"with_scope", &nest_with_scope},
    {"finish", &nest_finish},
    {"shared", &nest_shared},
    {"retry", &nest_retry},
    {"timeout", &nest_timeout},
    {"spawn", &nest_spawn},
    {"finally", &nest_finally},
};

/// How a nest comes to its end.
enum class way { dropped, ended, failed };

/// Builds a nest, and ends it so. True if its end is what it has to be.
bool goes(nest make, int depth, way how) {
  eddy::event_loop loop;
  bottom b(loop);
  {
    eddy::future<> result = eddy::spawn(loop, make(b, depth));
    while (loop.run_ready()) {
    }
    if (result.ready()) return false;
    if (how == way::dropped) {
      result = {};
    } else {
      if (how == way::ended) b.end.set_value();
      if (how == way::failed) b.end.set_error(std::make_exception_ptr(std::logic_error("so")));
      while (loop.run_ready()) {
      }
      if (!result.ready()) return false;
      const eddy::outcome<void> end = std::move(result).take();
      if (end.has_value() != (how == way::ended || make == &nest_join_settled)) return false;
    }
  }
  return true;
}

task<> holds(task<> inner) { co_await std::move(inner); }

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

TEST_CASE("work that is nested deep is dropped, ends and fails on a small stack") {
  const std::size_t frames = eddy::frame_count();
  for (const auto& [what, make] : nests) {
    INFO(std::string(what));
    for (const way how : {way::dropped, way::ended, way::failed}) {
      CHECK(on_a_stack_of(small, [&] { return goes(make, 10'000, how); }));
    }
  }
  CHECK(eddy::frame_count() == frames);
}

TEST_CASE("work that is nested a million deep is dropped, ends and fails") {
  if (SANITIZED != 0) return;  // as above, and it takes minutes
  for (const nest make : {&nest_task, &nest_join}) {
    for (const way how : {way::dropped, way::ended, way::failed}) {
      CHECK(goes(make, 1'000'000, how));
    }
  }
}

TEST_CASE("tasks that hold tasks and were never started are dropped on a small stack") {
  CHECK(on_a_stack_of(small, [] {
    eddy::task<> all = nothing();
    for (int i = 0; i < 1'000'000; ++i) all = holds(std::move(all));
    return true;
  }));
}

TEST_CASE("a chain of a million then is dropped, ends and fails on a small stack") {
  for (const way how : {way::dropped, way::ended, way::failed}) {
    CHECK(on_a_stack_of(small, [how] {
      eddy::event_loop loop;
      eddy::promise<int> p(loop);
      eddy::future<int> f = p.get_future();
      for (int i = 0; i < 1'000'000; ++i) f = std::move(f).then([](int n) { return n + 1; });
      if (how == way::dropped) {
        f = {};
        return true;
      }
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

TEST_CASE("a function given to then that returns futures again and again takes little memory") {
  // Each round gives way to the next: what is left of a million of them is one.
  eddy::event_loop loop;
  int left = 1'000'000;
  std::size_t most = 0;
  std::function<eddy::future<int>(int)> again = [&](int n) -> eddy::future<int> {
    most = std::max(most, eddy::frame_count());
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
