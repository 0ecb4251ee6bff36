// SPDX-License-Identifier: BSD-2-Clause
// Tests of `timer_node::gives_way`, which `timeout` and a scope's deadline set: a limit that
// expires accepts results and events that came in time, and soon cancels the other work.
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <eddy/future/adapt.h>
#include <eddy/future/as_result.h>
#include <eddy/future/flow/finally.h>
#include <eddy/future/flow/shared.h>
#include <eddy/future/promise.h>
#include <eddy/future/scope.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/timeout.h>
#include <eddy/future/until.h>
#include <eddy/future/with_scope.h>
#include <eddy/future/yield.h>
#include <eddy/loop/readiness.h>
#include <eddy/loop/timer.h>

#include "support/async_test.h"
#include "support/socket_pair.h"
#include "support/tidy.h"

using namespace std::chrono_literals;

namespace {

/// Makes work that completes after a delay. Most kinds complete through the ready queue or a
/// descriptor, and not by returning from an awaited task.
struct result_on_its_way {
  eddy::event_loop& loop;
  eddy::scope outer{loop};
  eddy::timer timer{loop};
  eddy::promise<int> promise{loop};
  socket_pair pair{};

  static eddy::task<int> after(eddy::duration delay) {
    co_await eddy::sleep(delay);
    co_return 42;
  }
  static eddy::task<> nap(eddy::duration delay) { co_await eddy::sleep(delay); }
  static eddy::task<int> await(eddy::future<int> f) {
    const int value = co_await std::move(f);
    co_return value;
  }
  static eddy::task<int> of_promise(result_on_its_way& self, eddy::duration delay) {
    eddy::future<int> f = self.promise.get_future();
    self.timer.start(delay, [&self] { self.promise.set_value(42); });
    return await(std::move(f));
  }
  static eddy::task<int> of_post(result_on_its_way& self, eddy::duration delay) {
    eddy::future<int> f = self.promise.get_future();
    // This takes several turns: a turn runs only handlers posted before it began.
    const auto set = [&self] { self.promise.set_value(42); };
    const auto post = [&self, set] { self.loop.post(set); };
    const auto post_twice = [&self, post] { self.loop.post(post); };
    self.timer.start(delay, post_twice);
    return await(std::move(f));
  }
  static eddy::task<int> of_future(eddy::future<int> f) {
    return await(std::move(f).then([](int v) { return v + 1; }).then([](int v) { return v - 1; }));
  }
  static eddy::task<int> of_chain(eddy::duration delay) {
    return of_future(eddy::spawn(after(delay)));
  }
  static eddy::task<int> of_shared(eddy::duration delay) {
    const eddy::shared<int> all(after(delay));
    const int value = co_await all;
    co_return value;
  }
  static eddy::task<int> of_adapt(eddy::duration delay) {
    const auto start = [delay](eddy::completer<int> done) {
      eddy::timer t(*eddy::event_loop::current());
      t.start(delay, [done] { done(42); });
      return t;
    };
    const int value = co_await eddy::adapt<int>(start);
    co_return value;
  }
  static eddy::task<int> in_scope(eddy::duration delay) {
    const auto body = [](eddy::scope&, eddy::duration d) { return after(d); };
    const int value = co_await eddy::with_scope(body, delay);
    co_return value;
  }
  static eddy::task<int> of_join(eddy::duration delay) {
    eddy::scope all;
    all.spawn(nap(delay));
    co_await all.join();
    co_return 42;
  }
  static eddy::task<int> of_finish(result_on_its_way& self, eddy::duration delay) {
    const int value = co_await self.outer.finish(after(delay));
    co_return value;
  }
  static eddy::task<int> of_finally(result_on_its_way& self, eddy::duration delay) {
    const int value = co_await eddy::finally(self.outer, after(delay), nap(0ms), 1s);
    co_return value;
  }
  static eddy::task<int> by_deadline(eddy::duration delay) {
    eddy::scope all;
    all.set_deadline(all.loop().now() + 10ms);
    int value = 0;
    const auto child = [](int& to, eddy::duration d) -> eddy::task<> {
      to = co_await await(eddy::spawn(after(d)));
    };
    all.spawn(child, std::ref(value), delay);
    co_await all.join();
    co_return value;
  }

  static eddy::task<int> of_descriptor(int descriptor, eddy::duration delay) {
    if (delay > 10ms) co_await eddy::sleep(delay);
    const auto wait = [](int d) -> eddy::task<int> {
      co_await eddy::until_readable(d);
      co_return 42;
    };
    const int value = co_await of_future(eddy::spawn(wait(descriptor)));
    co_return value;
  }

  eddy::task<int> make(int kind, eddy::duration delay) {
    switch (kind) {
      case 0: return after(delay);
      case 1: return await(eddy::spawn(loop, after(delay)));
      case 2: return of_promise(*this, delay);
      case 3: return of_chain(delay);
      case 4: return of_shared(delay);
      case 5: return of_adapt(delay);
      case 6: return in_scope(delay);
      case 7: return of_join(delay);
      case 8: return of_finish(*this, delay);
      case 9: return of_finally(*this, delay);
      case 10: return of_post(*this, delay);
      case 11: return of_descriptor(pair.near(), delay);
      default: return by_deadline(delay);
    }
  }
};

/// Keeps the ready queue non-empty until the flood is destroyed.
class flood {
public:
  explicit flood(eddy::event_loop& loop, int width = 1, std::size_t bytes = 0)
      : loop_(loop), bytes_(bytes) {
    for (int i = 0; i < width; ++i) again();
  }
  flood(const flood&) = delete;
  flood& operator=(const flood&) = delete;
  ~flood() { *over_ = true; }

private:
  void again() {
    loop_.defer([this, over = over_] {
      if (*over) return;
      loop_.charge(bytes_);
      again();
    });
  }

  eddy::event_loop& loop_;
  std::size_t bytes_;
  std::shared_ptr<bool> over_ = std::make_shared<bool>(false);
};

/// A number of bytes that fills a turn.
constexpr std::size_t much = std::size_t{4} << 20;

}  // namespace

TEST_CASE_FIXTURE(with_still_loop,
                  "an event that came in time beats the limit, however late the loop is") {
  socket_pair pair;
  std::string end;
  const auto wait = [](int descriptor, std::string& how) -> eddy::task<> {
    const auto r = co_await eddy::as_result(eddy::timeout(1s, eddy::until_readable(descriptor)));
    how = r ? "readable" : r.error().message();
  };
  for (const eddy::duration late : {0ms, 1ms, 11ms, 1000ms}) {
    eddy::future<> waiting = eddy::spawn(loop, wait(pair.near(), end));
    loop.run_ready();
    pair.send();
    clock.advance(1s + late);
    while (loop.run_ready()) {
    }
    CHECK(waiting.ready());
    CHECK(end == "readable");
    CHECK(pair.receive() == "x");
  }
  // Without an event, the limit expires.
  eddy::future<> waiting = eddy::spawn(loop, wait(pair.near(), end));
  loop.run_ready();
  clock.advance(1h);
  while (loop.run_ready()) {
  }
  CHECK(waiting.ready());
  CHECK(end == "Connection timed out");
}

TEST_CASE_FIXTURE(with_still_loop, "a result that is queued when the limit expires counts") {
  const auto limited = [](eddy::task<int> work) -> eddy::task<int> {
    const auto r = co_await eddy::as_result(eddy::timeout(10ms, std::move(work)));
    co_return r ? *r : 0;
  };
  const auto begin = [&limited](result_on_its_way& of, int kind,
                                eddy::duration delay) -> eddy::task<int> {
    const int value = co_await limited(of.make(kind, delay));
    co_return value;
  };
  for (const eddy::duration late : {0ms, 5ms, 10ms, 15ms}) {
    for (int kind = 0; kind <= 12; ++kind) {
      for (const int variant : {0, 1, 2, 3}) {
        const bool in_time = (variant & 1) == 0;
        const bool flooded = (variant & 2) == 0;
        INFO(late.count(), " ns late, kind ", kind, in_time, flooded);
        result_on_its_way of(loop);
        // A flood of handlers makes neither the result nor the limit lose.
        std::optional<flood> others;
        if (flooded) others.emplace(loop);
        eddy::future<int> f = eddy::spawn(loop, begin(of, kind, in_time ? 8ms : 1h));
        loop.run_ready();
        clock.advance(10ms + late);
        of.pair.send();
        for (int turn = 0; turn < 12 && !f.ready(); ++turn) loop.run_ready();
        others.reset();
        loop.run_ready();
        REQUIRE(f.ready());
        CHECK(std::move(f).take() == (in_time ? 42 : 0));
      }
    }
  }
}

TEST_CASE_FIXTURE(with_still_loop,
                  "a limit and its waiter do not queue behind a flood of handlers") {
  std::optional<flood> others(std::in_place, loop, 5 * eddy::event_loop::budget);
  const auto limited = []() -> eddy::task<> {
    static_cast<void>(co_await eddy::as_result(eddy::timeout(10ms, eddy::sleep(1h))));
  };
  const eddy::future<> f = eddy::spawn(loop, limited());
  for (int i = 0; i < 10; ++i) loop.run_ready();
  clock.advance(10ms);
  int turns = 0;
  for (; !f.ready() && turns < 100; ++turns) loop.run_ready();
  CHECK(turns < 11);
  others.reset();
  while (loop.run_ready()) {
  }
}

TEST_CASE_FIXTURE(with_still_loop,
                  "bytes that an earlier timer sends in the limit's turn come in time") {
  const socket_pair pair;
  const auto limited = [](int descriptor) -> eddy::task<bool> {
    const auto r = co_await eddy::as_result(eddy::timeout(10ms, eddy::until_readable(descriptor)));
    co_return r.has_value();
  };
  eddy::timer sender(loop);
  sender.start(9ms, [&] { pair.send(); });
  eddy::future<bool> f = eddy::spawn(loop, limited(pair.near()));
  loop.run_ready();
  clock.advance(12ms);
  while (loop.run_ready()) {
  }
  REQUIRE(f.ready());
  CHECK(std::move(f).take().value());
}

TEST_CASE_FIXTURE(with_still_loop, "a queued result beats the limit though each turn is full") {
  std::optional<flood> others(std::in_place, loop, 2, much);
  result_on_its_way of(loop);
  const auto limited = [](result_on_its_way& from) -> eddy::task<bool> {
    const auto r = co_await eddy::as_result(eddy::timeout(10ms, from.make(1, 8ms)));
    co_return r.has_value();
  };
  eddy::future<bool> f = eddy::spawn(loop, limited(of));
  for (int i = 0; i < 10; ++i) loop.run_ready();
  clock.advance(10ms);
  for (int i = 0; i < 20; ++i) loop.run_ready();
  others.reset();
  while (loop.run_ready()) {
  }
  REQUIRE(f.ready());
  CHECK(std::move(f).take().value());
}

TEST_CASE_FIXTURE(with_still_loop,
                  "a limit that waited for a slow handler expires after the handler") {
  std::optional<flood> others(std::in_place, loop);
  const socket_pair pair;
  const auto limited = [](int descriptor) -> eddy::task<bool> {
    const auto r = co_await eddy::as_result(eddy::timeout(10ms, eddy::until_readable(descriptor)));
    co_return r.has_value();
  };
  eddy::future<bool> f = eddy::spawn(loop, limited(pair.near()));
  loop.run_ready();
  clock.advance(10ms);
  loop.defer([&] {
    clock.advance(1s);
    pair.send();
  });
  for (int i = 0; i < 20; ++i) loop.run_ready();
  others.reset();
  while (loop.run_ready()) {
  }
  REQUIRE(f.ready());
  CHECK_FALSE(std::move(f).take().value());
}

TEST_CASE_FIXTURE(with_still_loop,
                  "an error that is queued when the limit expires is thrown once, by timeout") {
  loop.on_exception([](std::exception_ptr) { FAIL_CHECK("the loop got the error, too"); });
  const auto fail_in_time = []() -> eddy::task<> {
    co_await eddy::sleep(8ms);
    throw std::runtime_error("no");
  };
  std::string what;
  const auto limited = [&]() -> eddy::task<> {
    try {
      co_await eddy::timeout(10ms, eddy::spawn(fail_in_time()));
    } catch (const std::exception& e) {
      what = e.what();
    }
  };
  const eddy::future<> f = eddy::spawn(loop, limited());
  loop.run_ready();
  clock.advance(15ms);
  while (loop.run_ready()) {
  }
  CHECK(f.ready());
  CHECK(what == "no");
}

TEST_CASE_FIXTURE(with_still_loop,
                  "after a loop was late, every ready descriptor counts as in time") {
  const socket_pair pair;
  std::vector<int> copies;  // more than three calls of epoll_wait report
  for (int i = 0; i < 500; ++i) copies.push_back(::fcntl(pair.near(), F_DUPFD_CLOEXEC, 0));
  int with_limit = copies.front();
  SUBCASE("the descriptor watched first has the limit") {}
  SUBCASE("the descriptor watched last has the limit") { with_limit = copies.back(); }

  std::vector<eddy::future<>> waiting;
  bool in_time = false;
  const auto wait = [](int descriptor) -> eddy::task<> {
    co_await eddy::until_readable(descriptor);
  };
  const auto limited = [](int descriptor, bool& right) -> eddy::task<> {
    const auto r = co_await eddy::as_result(eddy::timeout(1s, eddy::until_readable(descriptor)));
    right = r.has_value();
  };
  for (const int copy : copies) {
    waiting.push_back(copy == with_limit ? eddy::spawn(loop, limited(copy, in_time))
                                         : eddy::spawn(loop, wait(copy)));
  }
  loop.run_ready();
  pair.send();
  clock.advance(2s);
  while (loop.run_ready()) {
  }
  CHECK(in_time);
  waiting.clear();
  for (const int copy : copies) ::close(copy);
}

TEST_CASE_FIXTURE(with_still_loop,
                  "after a loop was late, ready work that fills a turn beats the limit") {
  struct program {
    static eddy::task<> step() { co_return; }
    static eddy::task<> work(int descriptor) {
      co_await eddy::until_readable(descriptor);
      // A few more steps than a turn holds; at the end of its share, work lets other tasks run.
      constexpr int share = eddy::event_loop::share;
      constexpr int steps = eddy::event_loop::budget / share * (share - 1) + 10;
      for (int i = 0; i < steps; ++i) co_await step();
    }
    static eddy::task<> limited(int descriptor, bool& in_time) {
      const auto r = co_await eddy::as_result(eddy::timeout(1s, work(descriptor)));
      in_time = r.has_value();
    }
  };
  const socket_pair pair;
  bool in_time = false;
  const eddy::future<> waiting = eddy::spawn(loop, program::limited(pair.near(), in_time));
  loop.run_ready();
  pair.send();
  clock.advance(2s);
  while (loop.run_ready()) {
  }
  CHECK(in_time);
}

TEST_CASE_FIXTURE(with_loop, "bytes that a slow handler delayed beat a limit of the same turn") {
  const socket_pair pair;
  std::string end;
  const auto wait = [](int descriptor, std::string& how) -> eddy::task<> {
    const auto r = co_await eddy::as_result(eddy::timeout(1ms, eddy::until_readable(descriptor)));
    how = r ? "readable" : r.error().message();
  };
  eddy::timer slow(loop);
  loop.defer([&] {
    slow.start(1ms, [&] {
      const auto until = std::chrono::steady_clock::now() + 15ms;
      while (std::chrono::steady_clock::now() < until) {
      }
      pair.send();
    });
  });
  eddy::future<> waiting = eddy::spawn(loop, wait(pair.near(), end));
  loop.run();
  CHECK(end == "readable");
}

TEST_CASE_FIXTURE(with_still_loop,
                  "a late limit waits only a few turns for the handlers of ready descriptors") {
  bool over = false;
  const auto doze = [](bool& ended) -> eddy::task<> {
    co_await eddy::as_result(eddy::timeout(1s, eddy::sleep(1h)));
    ended = true;
  };
  const eddy::future<> limited = eddy::spawn(loop, doze(over));
  loop.run_ready();

  const std::vector<socket_pair> pairs(60);
  std::vector<std::unique_ptr<eddy::readiness>> watches;
  int handled = 0;
  for (const socket_pair& pair : pairs) {
    pair.send();
    watches.push_back(std::make_unique<eddy::readiness>(loop, pair.near()));
    watches.back()->wait_readable([&](std::error_code) {
      ++handled;
      loop.charge(much);
    });
  }
  clock.advance(2s);
  for (int turns = 0; !over && turns < 200; ++turns) loop.run_ready();
  CHECK(over);
  CHECK(handled > 1);
  CHECK(handled < 20);  // of 60
}

TEST_CASE_FIXTURE(with_still_loop,
                  "many late limits wait for ready descriptors, not for each other") {
  // Each descriptor is always ready, and each handler fills a turn.
  const std::vector<socket_pair> pairs(20);
  std::vector<std::unique_ptr<eddy::readiness>> always;
  const std::function<void(std::size_t)> again = [&](std::size_t i) {
    always[i]->wait_readable([&, i](std::error_code) {
      again(i);
      loop.charge(much);
    });
  };
  for (const socket_pair& pair : pairs) {
    pair.send();
    always.push_back(std::make_unique<eddy::readiness>(loop, pair.near()));
    again(always.size() - 1);
  }
  std::vector<eddy::future<>> limited;
  int over = 0;
  constexpr int many = 60;
  const auto doze = [](int& ended) -> eddy::task<> {
    const auto r = co_await eddy::as_result(eddy::timeout(1s, eddy::sleep(1h)));
    if (!r) ++ended;
  };
  for (int i = 0; i < many; ++i) limited.push_back(eddy::spawn(loop, doze(over)));
  loop.run_ready();
  for (int i = 0; i < 200; ++i) loop.run_ready();
  CHECK(over == 0);
  clock.advance(2s);
  int turns = 0;
  for (; over != many && turns < 1000; ++turns) loop.run_ready();
  CAPTURE(turns);
  CHECK(turns < 100);
  always.clear();
}

TEST_CASE_FIXTURE(with_loop,
                  "on the system's clock, a result that takes many short turns beats the limit") {
  const auto work = [](eddy::event_loop& on) -> eddy::task<bool> {
    on.end_turn();
    co_await eddy::yield();  // the limit's time is measured from here
    const eddy::time_point past = on.after(3ms);
    while (std::chrono::steady_clock::now() < past) {
    }
    for (int turn = 0; turn < 14; ++turn) {
      on.charge(much);
      co_await eddy::yield();
    }
    co_return true;
  };
  const auto limited = [&](bool& in) -> eddy::task<> {
    in = (co_await eddy::as_result(eddy::timeout(1ms, work(loop)))).has_value();
  };
  // Other threads may take the processor for more than 10 ms, hence the attempts.
  bool in = false;
  for (int attempt = 0; attempt < 50 && !in; ++attempt) {
    const eddy::future<> f = eddy::spawn(loop, limited(in));
    loop.run();
  }
  CHECK(in);
}
