// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/adapt.h>.
#include <eddy/future/adapt.h>

#include <any>
#include <deque>
#include <exception>
#include <expected>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/block_on.h>
#include <eddy/future/flow/concurrent.h>
#include <eddy/future/flow/join_settled.h>
#include <eddy/future/flow/race_ok.h>
#include <eddy/future/join.h>
#include <eddy/future/scope.h>
#include <eddy/future/select.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/yield.h>
#include <eddy/loop/result.h>
#include <eddy/loop/timer.h>

#include "support/async_test.h"
#include "support/counted.h"
#include "support/forked.h"
#include "support/journal.h"

using namespace std::chrono_literals;

namespace {

/// A callback API as C libraries have them.
struct c_api {
  using callback = void (*)(void* user, int value);

  void begin(callback f, void* user) {
    on_done = f;
    its_user = user;
  }
  void end(int value) { std::exchange(on_done, nullptr)(its_user, value); }
  void cancel() { on_done = nullptr; }

  callback on_done = nullptr;
  void* its_user = nullptr;
};

eddy::task<int> value_of(c_api* api, journal* note) {
  const auto start = [=](eddy::completer<int> done) {
    api->begin([](void* user, int value) { eddy::completer<int>::from(user)(value); },
               done.pointer());
    return [=] {
      api->cancel();
      (*note)("cancelled");
    };
  };
  const int n = co_await eddy::adapt<int>(start);
  (*note)(n);
  co_return n;
}

}  // namespace

TEST_CASE_FIXTURE(async_fixture,
                  "a callback completes the wait, and the loop resumes the coroutine later") {
  journal note;
  c_api api;
  auto f = eddy::spawn(loop, value_of(&api, &note));
  CHECK(!api.on_done);
  loop.run_ready();
  REQUIRE(!!api.on_done);

  api.end(5);
  note("ended");
  loop.run();
  CHECK(note == "ended 5");
  f = {};
}

TEST_CASE_FIXTURE(async_fixture,
                  "the loop's dump shows the words of describe, or else \"a callback\"") {
  struct query {
    auto operator()(eddy::completer<> /*done*/) const {
      return [] {};
    }
    std::string describe() const { return "a query's answer"; }
  };
  struct program {
    static eddy::task<> named() { co_await eddy::adapt(query()); }
    static eddy::task<> unnamed() {
      co_await eddy::adapt([](eddy::completer<>) { return [] {}; });
    }
  };
  const auto named = eddy::spawn(loop, program::named());
  const auto unnamed = eddy::spawn(loop, program::unnamed());
  loop.run_ready();
  const std::string tree = loop.dump();
  CHECK_MESSAGE(tree.contains("a query's answer\n"), tree);
  CHECK_MESSAGE(tree.contains("a callback\n"), tree);
}

TEST_CASE_FIXTURE(async_fixture, "a destroyed wait calls its cancel function once") {
  journal note;
  c_api api;
  auto f = eddy::spawn(loop, value_of(&api, &note));
  loop.run_ready();

  SUBCASE("before it is complete") {
    f = {};
    CHECK(note == "cancelled");
    CHECK(!api.on_done);
  }
  SUBCASE("but not after it is complete") {
    api.end(5);
    f = {};
    CHECK(note == "");
  }
  loop.run();
}

TEST_CASE_FIXTURE(async_fixture, "the cancel function may call the completer") {
  struct program {
    static eddy::task<> wait(std::function<void()>* end, journal* note) {
      const auto start = [=](eddy::completer<int> done) {
        *end = [done] { done(-1); };
        return [=] { (*end)(); };
      };
      const int n = co_await eddy::adapt<int>(start);
      (*note)(n);
    }
  };
  std::function<void()> end;
  journal note;
  auto f = eddy::spawn(loop, program::wait(&end, &note));
  loop.run_ready();
  f = {};
  loop.run();
  CHECK(note == "");
}

TEST_CASE_FIXTURE(async_fixture,
                  "a message taken for a wait that is then destroyed is given back") {
  struct source {
    std::deque<int> messages{1, 2};
    std::optional<eddy::completer<int>> waiter;
    int give() {
      const int first = messages.front();
      messages.pop_front();
      (*waiter)(first);
      return first;
    }
  };
  struct receive {
    source* from;
    auto operator()(eddy::completer<int> done) const {
      from->waiter = done;
      return [] {};
    }
    void give_back(int message) const { from->messages.push_front(message); }
  };
  source from;
  int got = 0;
  auto f = eddy::spawn(loop, [&]() -> eddy::task<> {
    const receive next{&from};
    got = co_await eddy::adapt<int>(next);
  });
  loop.run_ready();
  CHECK(from.give() == 1);

  SUBCASE("once") {
    f = {};
    CHECK(from.messages == std::deque{1, 2});
    loop.run();
    CHECK(got == 0);
  }
  SUBCASE("but not a message that was delivered") {
    loop.run();
    CHECK(got == 1);
    f = {};
  }
  CHECK(from.messages.size() == (got == 0 ? 2 : 1));
}

namespace {

/// Gives each message to the waiter that has waited the longest.
struct channel {
  std::deque<int> messages;
  std::deque<eddy::completer<int>> waiters;

  void deliver() {
    while (!messages.empty() && !waiters.empty()) {
      const int first = messages.front();
      messages.pop_front();
      waiters.front()(first);
      waiters.pop_front();
    }
  }
};

struct next_message {
  channel* from;
  auto operator()(eddy::completer<int> done) const {
    from->waiters.push_back(done);
    return [] {};
  }
  void give_back(int message) const { from->messages.push_front(message); }
};

eddy::task<> wait_a_turn() { co_await eddy::yield(); }

eddy::task<> receive_from(channel* from) {
  const next_message next{from};
  static_cast<void>(co_await eddy::adapt<int>(next));
}

}  // namespace

TEST_CASE_FIXTURE(async_fixture,
                  "messages given back by waits destroyed together keep their order") {
  channel from;
  eddy::future<> f;
  SUBCASE("in a select") {
    f = eddy::spawn(loop, [&]() -> eddy::task<> {
      co_await eddy::select(receive_from(&from), receive_from(&from));
    });
  }
  SUBCASE("in a race_ok") {
    f = eddy::spawn(loop, [&]() -> eddy::task<> {
      co_await eddy::race_ok(receive_from(&from), receive_from(&from));
    });
  }
  SUBCASE("in a join") {
    f = eddy::spawn(loop, [&]() -> eddy::task<> {
      co_await eddy::join(receive_from(&from), receive_from(&from));
    });
  }
  SUBCASE("in a join_settled of a range") {
    f = eddy::spawn(loop, [&]() -> eddy::task<> {
      std::vector<eddy::task<>> all;
      for (int i = 0; i < 2; ++i) all.push_back(receive_from(&from));
      static_cast<void>(co_await eddy::join_settled(std::move(all)));
    });
  }
  SUBCASE("in a scope") {
    f = eddy::spawn(loop, [&]() -> eddy::task<> {
      eddy::scope two;
      for (int i = 0; i < 2; ++i) two.spawn(receive_from(&from));
      co_await two.finish(eddy::sleep(1h));
    });
  }
  SUBCASE("in a for_each_concurrent of which one call has completed") {
    f = eddy::spawn(loop, [&]() -> eddy::task<> {
      const auto work = [&](int i) { return i == 0 ? wait_a_turn() : receive_from(&from); };
      std::vector<int> all(3);
      std::iota(all.begin(), all.end(), 0);
      co_await eddy::for_each_concurrent(std::move(all), 2, work);
    });
  }
  while (loop.run_ready()) {
  }
  REQUIRE(from.waiters.size() == 2);
  from.messages = {1, 2, 3};
  from.deliver();
  CHECK(from.messages == std::deque{3});
  f = {};
  CHECK(from.messages == std::deque{1, 2, 3});
}

TEST_CASE_FIXTURE(
    async_fixture,
    "a destroyed wait gives back a completion without a value; its error leaves run") {
  struct permit {
    int* free;
    std::optional<eddy::completer<>>* waiter;
    auto operator()(eddy::completer<> done) const {
      *waiter = done;
      return [] {};
    }
    void give_back() const { ++*free; }
  };
  int free = 0;
  std::optional<eddy::completer<>> done;
  auto f = eddy::spawn(loop, [&]() -> eddy::task<> {
    const permit one{&free, &done};
    co_await eddy::adapt(one);
  });
  loop.run_ready();
  SUBCASE("value") {
    (*done)();
    f = {};
    CHECK(free == 1);
    loop.run();
  }
  SUBCASE("error") {
    done->fail(std::make_error_code(std::errc::timed_out), "waiting for a permit");
    f = {};
    CHECK(free == 0);
    CHECK_THROWS_WITH_AS(loop.run(), "waiting for a permit: Connection timed out",
                         std::system_error);
  }
}

ASYNC_TEST("the object that start returns lives as long as the wait; its destructor may cancel") {
  int alive = 0;
  const auto start = [&](eddy::completer<> done) {
    struct both {
      eddy::timer t;
      counted c;
    };
    both b{eddy::timer(loop), counted(alive)};
    b.t.start(1s, [done] { done(); });
    return b;
  };
  co_await eddy::adapt(start);
  CHECK(alive == 0);

  auto waits = [&]() -> eddy::task<> { co_await eddy::adapt(start); };
  auto f = eddy::spawn(waits());
  co_await eddy::yield();
  CHECK(alive == 1);
  f = {};
  CHECK(alive == 0);
  CHECK(loop.count().timers == 0);
}

ASYNC_TEST("waits that complete within start do not suspend, up to a bounded number in a row") {
  int others = 0;
  auto counts = [&]() -> eddy::task<> {
    for (;;) {
      ++others;
      co_await eddy::yield();
    }
  };
  auto other = eddy::spawn(counts());
  co_await eddy::yield();
  const int before = others;

  const void* const first = __builtin_frame_address(0);
  int sum = 0;
  bool same = true;
  for (int i = 0; i < 30; ++i) {
    sum += co_await eddy::adapt<int>([](eddy::completer<int> done) {
      done(1);
      return [] {};
    });
    same = same && first == __builtin_frame_address(0);
  }
  CHECK(sum == 30);
  CHECK(others == before);

  for (int i = 0; i < 1'000'000; ++i) {
    sum += co_await eddy::adapt<int>([](eddy::completer<int> done) {
      done(1);
      return [] {};
    });
    same = same && first == __builtin_frame_address(0);
  }
  CHECK(sum == 1'000'030);
  CHECK(same);
  CHECK(others > 1'000'000 / 130);
}

ASYNC_TEST("the co_await throws an error of the completer or of start") {
  std::string what;
  SUBCASE("given to completer::fail") {
    try {
      co_await eddy::adapt([](eddy::completer<> done) {
        done.fail(std::make_error_code(std::errc::connection_reset), "reading");
        return [] {};
      });
    } catch (const std::system_error& e) {
      what = e.what();
    }
    CHECK(what == "reading: Connection reset by peer");
  }
  SUBCASE("given to the completer in a result") {
    try {
      co_await eddy::adapt<int>([](eddy::completer<int> done) {
        done(eddy::result<int>(std::unexpected(std::make_error_code(std::errc::timed_out))));
        return [] {};
      });
    } catch (const std::system_error& e) {
      what = e.what();
    }
    CHECK(what == "Connection timed out");
  }
  SUBCASE("thrown by start") {
    const auto start = [](eddy::completer<>) -> eddy::timer { throw std::runtime_error("no"); };
    try {
      co_await eddy::adapt(start);
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    CHECK(what == "no");
    CHECK(loop.dump().contains("running"));
  }
}

ASYNC_TEST("an rvalue start is kept until the wait is complete") {
  int alive = 0;
  auto start = [held = counted(alive), &on = loop](eddy::completer<> done) {
    on.defer([done] { done(); });
    return [] {};
  };
  CHECK(alive == 1);
  auto wait = eddy::adapt(std::move(start));
  CHECK(alive == 2);
  co_await std::move(wait);
  CHECK(alive == 2);
}

TEST_CASE("misuse of adapt or of a completer aborts") {
  dies_saying("a completer was called twice", [] {
    eddy::event_loop loop;
    struct program {
      static eddy::task<> wait() {
        co_await eddy::adapt([](eddy::completer<> done) {
          done();
          done();
          return [] {};
        });
      }
    };
    eddy::block_on(loop, program::wait());
  });
  dies_saying("completer::fail was given no error", [] {
    eddy::event_loop loop;
    struct program {
      static eddy::task<> wait() {
        co_await eddy::adapt([](eddy::completer<> done) {
          done.fail(std::error_code());
          return [] {};
        });
      }
    };
    eddy::block_on(loop, program::wait());
  });
  dies_saying("adapt was called while no loop runs", [] {
    auto wait = eddy::adapt([](eddy::completer<>) { return [] {}; });
    static_cast<void>(std::move(wait).operator co_await());
  });
}

// A completer<bool> refuses an error as its value, though errors convert to bool.
static_assert(std::is_invocable_v<eddy::completer<bool>, bool>);
static_assert(!std::is_invocable_v<eddy::completer<bool>, std::error_code>);
static_assert(!std::is_invocable_v<eddy::completer<bool>, std::exception_ptr>);
static_assert(!std::is_invocable_v<eddy::completer<bool>, eddy::outcome<bool>>);
static_assert(std::is_invocable_v<eddy::completer<bool>, eddy::result<bool>>);
static_assert(std::is_invocable_v<eddy::completer<long>, eddy::result<int>>);
static_assert(std::is_invocable_v<eddy::completer<>, eddy::result<void>>);
static_assert(!std::is_invocable_v<eddy::completer<>, eddy::result<int>>);
static_assert(std::is_invocable_v<eddy::completer<int>, std::unexpected<std::error_code>>);
static_assert(!std::is_invocable_v<eddy::completer<std::any>, std::error_code>);
static_assert(!std::is_invocable_v<eddy::completer<std::any>, std::exception_ptr>);
static_assert(std::is_invocable_v<eddy::completer<std::any>, eddy::result<int>>);
static_assert(std::is_invocable_v<eddy::completer<std::error_code>, std::error_code>);
