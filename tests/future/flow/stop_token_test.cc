// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/flow/stop_token.h>.
#include <eddy/future/flow/stop_token.h>

#include <atomic>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/scope.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/timeout.h>
#include <eddy/future/yield.h>

#include "support/async_test.h"
#include "support/forked.h"
#include "support/journal.h"

using namespace std::chrono_literals;

namespace {

eddy::task<> note_stop(eddy::stop_token stop, journal* note, std::string name) {
  co_await stop;
  (*note)(name);
}

eddy::task<> note_std_stop(std::stop_token stop, journal* note, std::string name) {
  co_await eddy::until_stopped(std::move(stop));
  (*note)(name);
}

}  // namespace

ASYNC_TEST("a task sees the stop request and ends where it can") {
  int done = 0;
  auto serve = [&done](eddy::stop_token stop) -> eddy::task<> {
    while (!stop.stop_requested()) {
      co_await eddy::sleep(2s);
      ++done;
    }
  };
  eddy::stop_source source;
  auto serving = eddy::spawn(serve, source.token());
  co_await eddy::sleep(3s);
  CHECK_FALSE(source.stop_requested());
  source.request_stop();
  CHECK(source.stop_requested());
  CHECK(source.token().stop_requested());
  co_await std::move(serving);
  CHECK(done == 2);  // the second round was finished
}

ASYNC_TEST("the waiters of a stop_token resume in order, after request_stop returns") {
  journal note;
  eddy::stop_source source;
  eddy::scope waiters;
  for (const char* name : {"a", "b", "c"}) {
    waiters.spawn(note_stop(source.token(), &note, name));
  }
  co_await eddy::yield();
  CHECK(loop.dump().contains("a request to stop"));
  source.request_stop();
  source.request_stop();
  CHECK(note == "");
  co_await waiters.join();
  CHECK(note == "a b c");

  const eddy::stop_token late = source.token();
  co_await late;  // completes: the stop was requested before
}

ASYNC_TEST("cancelling one waiter does not affect the others") {
  journal note;
  eddy::stop_source source;
  auto a = eddy::spawn(note_stop(source.token(), &note, "a"));
  auto b = eddy::spawn(note_stop(source.token(), &note, "b"));
  const auto in_time = co_await eddy::as_result(eddy::timeout(1s, source.token()));
  CHECK(in_time.error() == std::errc::timed_out);
  SUBCASE("before the request") {
    a = {};
    source.request_stop();
  }
  SUBCASE("after the request") {
    source.request_stop();
    a = {};
  }
  co_await std::move(b);
  CHECK(note == "b");
}

TEST_CASE_FIXTURE(async_fixture, "a resumed waiter may destroy the others and the source") {
  std::vector<eddy::future<>> waiters;
  std::optional<eddy::stop_source> source(std::in_place, loop);
  journal note;
  struct program {
    static eddy::task<> wait(eddy::stop_token stop, std::vector<eddy::future<>>* all,
                             std::optional<eddy::stop_source>* source, journal* note) {
      co_await stop;
      (*note)("first");
      source->reset();
      all->clear();
    }
  };
  for (int i = 0; i < 3; ++i) {
    waiters.push_back(eddy::spawn(loop, program::wait(source->token(), &waiters, &source, &note)));
  }
  loop.run_ready();
  source->request_stop();
  loop.run();
  CHECK(note == "first");
  CHECK(waiters.empty());
}

TEST_CASE_FIXTURE(async_fixture,
                  "a stop_callback that still exists is called once, from the loop") {
  journal note;
  eddy::stop_source source(loop);
  const eddy::stop_callback a(source.token(), [&] { note("a"); });
  auto b = std::make_unique<eddy::stop_callback>(source.token(), [&] { note("b"); });
  std::optional<eddy::stop_callback> c;
  c.emplace(source.token(), [&] {
    note("c");
    c.reset();
  });
  SUBCASE("destroyed before the request") {
    b.reset();
    source.request_stop();
  }
  SUBCASE("destroyed after the request") {
    source.request_stop();
    b.reset();
  }
  CHECK(note == "");
  loop.run();
  source.request_stop();
  loop.run();
  CHECK(note == "a c");

  const eddy::stop_callback late(source.token(), [&] { note("late"); });
  CHECK(note == "a c");
  loop.run();
  CHECK(note == "a c late");
}

TEST_CASE_FIXTURE(async_fixture, "a token may outlive its source, and then never sees a request") {
  auto source = std::make_unique<eddy::stop_source>(loop);
  const eddy::stop_token token = source->token();
  eddy::stop_token same = token;
  same = token;
  const auto copy = *source;
  source.reset();
  CHECK_FALSE(token.stop_requested());
  auto f = eddy::spawn(loop, eddy::stop_token(token));
  loop.run();
  CHECK_FALSE(f.ready());
}

ASYNC_TEST("until_stopped completes when a std::stop_source requests a stop") {
  journal note;
  std::stop_source source;
  eddy::scope waiters;
  waiters.spawn(note_std_stop(source.get_token(), &note, "a"));
  waiters.spawn(note_std_stop(source.get_token(), &note, "b"));
  co_await eddy::yield();
  source.request_stop();
  CHECK(note == "");
  co_await waiters.join();
  CHECK(note.text().size() == 3);  // in any order
  co_await eddy::until_stopped(source.get_token());
}

ASYNC_TEST("until_stopped can be cancelled before and after the request") {
  journal note;
  std::stop_source source;
  auto a = eddy::spawn(note_std_stop(source.get_token(), &note, "a"));
  auto b = eddy::spawn(note_std_stop(source.get_token(), &note, "b"));
  co_await eddy::yield();
  a = {};
  source.request_stop();
  b = {};
  co_await eddy::yield();
  co_await eddy::yield();
  CHECK(note == "");
}

TEST_SUITE("threads") {
  ASYNC_TEST("until_stopped completes when another thread requests the stop") {
    for (int i = 0; i < 100; ++i) {
      std::stop_source source;
      std::jthread other([&source] { source.request_stop(); });
      if (i % 2 == 0) {
        co_await eddy::until_stopped(source.get_token());
      } else {
        auto dropped = eddy::spawn(eddy::until_stopped(source.get_token()));
        co_await eddy::yield();
      }
      other.join();
    }
  }

  TEST_CASE("another thread may request a stop while the loop is destroyed") {
    for (int i = 0; i < 20; ++i) {
      std::stop_source source;
      std::stop_source never;
      std::atomic<bool> begun = false;
      std::jthread other([&] {
        while (!begun) {
        }
        source.request_stop();
      });
      struct begins {
        explicit begins(std::atomic<bool>& b) noexcept : begun(b) {}
        begins(const begins&) = delete;
        begins& operator=(const begins&) = delete;
        ~begins() { begun = true; }
        std::atomic<bool>& begun;
      };
      const auto wait_and_begin = [](std::stop_token stop,
                                     std::atomic<bool>& flag) -> eddy::task<> {
        const begins when_dropped(flag);
        co_await eddy::until_stopped(std::move(stop));
      };
      eddy::event_loop loop;
      eddy::spawn(loop, wait_and_begin(never.get_token(), begun)).detach();
      for (int n = 0; n < 10; ++n) {
        eddy::spawn(loop, eddy::until_stopped(source.get_token())).detach();
      }
      loop.run_ready();
    }
  }

  ASYNC_TEST("a dump shows that a task awaits a request to stop") {
    std::stop_source source;
    const auto waits = eddy::spawn(eddy::until_stopped(source.get_token()));
    co_await eddy::yield();
    CHECK(loop.dump().contains("a request to stop"));
    CHECK_FALSE(loop.dump().contains("promise"));
  }

  TEST_CASE("using a stop_source on another thread aborts the program") {
    dies_saying("used from another thread", [] {
      eddy::event_loop loop;
      eddy::stop_source source(loop);
      loop.defer([&] { std::thread([&] { source.request_stop(); }).join(); });
      loop.run();
    });
    dies_saying("used from another thread", [] {
      eddy::event_loop loop;
      const eddy::stop_source source(loop);
      auto waits = std::make_unique<eddy::stop_callback>(source.token(), [] {});
      loop.defer([&] { std::thread([&] { waits.reset(); }).join(); });
      loop.run();
    });
  }

  TEST_CASE("using, copying or destroying a stop_token on another thread aborts the program") {
    const auto uses = [](void (*use)(std::optional<eddy::stop_token>&)) {
      dies_saying("used from another thread", [use] {
        eddy::event_loop loop;
        std::optional token(eddy::stop_source(loop).token());
        loop.defer([&] { std::thread([&] { use(token); }).join(); });
        loop.run();
      });
    };
    uses([](auto& token) { static_cast<void>(token->stop_requested()); });
    uses([](auto& token) { std::ignore = std::make_unique<eddy::stop_token>(*token).release(); });
    uses([](auto& token) { token.reset(); });
  }

  TEST_CASE("a stop_token may outlive its loop, and then any thread may use it") {
    std::optional<eddy::stop_token> token;
    {
      eddy::event_loop loop;
      eddy::stop_source source(loop);
      token = source.token();
      source.request_stop();
    }
    std::thread([&] {
      CHECK(token->stop_requested());
      token.reset();
    }).join();
  }
}
