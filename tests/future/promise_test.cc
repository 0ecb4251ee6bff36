// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/future/promise.h>.
#include <eddy/future/promise.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>

#include <doctest/doctest.h>

#include <eddy/future/block_on.h>
#include <eddy/future/spawn.h>
#include <eddy/future/yield.h>
#include <eddy/loop/handler.h>

#include "support/async_test.h"
#include "support/counted.h"
#include "support/forked.h"
#include "support/journal.h"

static_assert(std::is_nothrow_move_constructible_v<eddy::promise<std::string>>);
static_assert(!std::is_copy_constructible_v<eddy::promise<>>);
static_assert(std::is_constructible_v<eddy::handler<void(eddy::result<int>)>, eddy::promise<int>>);
static_assert(std::is_constructible_v<eddy::handler<void()>, eddy::promise<>>);

namespace {

eddy::task<> note_value(eddy::future<int> f, journal* note) {
  const int n = co_await std::move(f);
  (*note)(n);
}

struct throws_when_made {
  explicit throws_when_made(int) { throw std::runtime_error("not made"); }
};

}  // namespace

TEST_CASE_FIXTURE(async_fixture,
                  "setting a promise runs no waiter; the loop resumes the waiter later") {
  journal note;
  eddy::promise<int> p(loop);
  auto f = eddy::spawn(loop, note_value(p.get_future(), &note));
  loop.run();

  p.set_value(3);
  note("set");
  loop.run();
  CHECK(note == "set 3");
  f = {};
}

TEST_CASE_FIXTURE(async_fixture,
                  "a promise can be set to a value, a reference, nothing or an error") {
  eddy::promise<std::unique_ptr<int>> box(loop);
  auto boxed = box.get_future();
  box.set_value(std::make_unique<int>(4));
  CHECK(*eddy::block_on(loop, std::move(boxed)) == 4);

  int n = 0;
  eddy::promise<int&> reference(loop);
  auto same = reference.get_future();
  reference.set_value(n);
  CHECK(&eddy::block_on(loop, std::move(same)) == &n);

  eddy::promise<> nothing(loop);
  auto done = nothing.get_future();
  nothing.set_value();
  eddy::block_on(loop, std::move(done));

  eddy::promise<int> failing(loop);
  auto failed = failing.get_future();
  failing.set_error(std::make_error_code(std::errc::connection_reset), "reading");
  CHECK_THROWS_WITH_AS(eddy::block_on(loop, std::move(failed)),
                       doctest::Contains("reading: Connection reset"), std::system_error);
}

TEST_CASE_FIXTURE(async_fixture, "a promise can be used as a handler") {
  eddy::promise<int> p(loop);
  auto f = p.get_future();
  eddy::handler<void(eddy::result<int>)> call(std::move(p));

  SUBCASE("called with a value") {
    call(5);
    CHECK(eddy::block_on(loop, std::move(f)) == 5);
  }
  SUBCASE("called with an error") {
    call(std::unexpected(std::make_error_code(std::errc::timed_out)));
    CHECK_THROWS_AS(eddy::block_on(loop, std::move(f)), std::system_error);
  }
}

TEST_CASE_FIXTURE(async_fixture,
                  "a promise that is destroyed unset gives its future broken_promise") {
  std::optional<eddy::promise<int>> p(loop);
  auto f = p->get_future();
  p.reset();
  CHECK(f.ready());
  CHECK_THROWS_AS(eddy::block_on(loop, std::move(f)), eddy::broken_promise);
}

TEST_CASE_FIXTURE(async_fixture, "broken_promise is not reported for a destroyed future") {
  std::optional<eddy::promise<int>> p(loop);
  auto f = p->get_future();
  SUBCASE("that nobody awaits") {
    p.reset();
    f = {};
    loop.run();
  }
  SUBCASE("that a task awaits") {
    auto waits = eddy::spawn(loop, [](eddy::future<int> value) -> eddy::task<int> {
      co_return co_await std::move(value);
    }(std::move(f)));
    loop.run_ready();
    p.reset();
    waits = {};
    loop.run();
  }
  SUBCASE("but for a detached one") {
    SUBCASE("detached before the promise is destroyed") {
      std::move(f).detach();
      p.reset();
    }
    SUBCASE("detached after the promise is destroyed") {
      p.reset();
      std::move(f).detach();
    }
    CHECK_THROWS_AS(loop.run(), eddy::broken_promise);
  }
}

TEST_CASE_FIXTURE(async_fixture, "a moved promise remembers that it was set") {
  eddy::promise<int> p(loop);
  auto f = p.get_future();
  p.set_value(1);

  SUBCASE("moved to a new promise") { const eddy::promise<int> q(std::move(p)); }
  SUBCASE("assigned to another promise") {
    eddy::promise<int> q(loop);
    q = std::move(p);
  }
  CHECK(eddy::block_on(loop, std::move(f)) == 1);
}

TEST_CASE_FIXTURE(async_fixture, "a promise stays unset if its value's constructor throws") {
  eddy::promise<throws_when_made> p(loop);
  auto f = p.get_future();
  CHECK_THROWS_AS(p.set_value(1), std::runtime_error);
  CHECK_FALSE(f.ready());
  p.set_error(std::make_exception_ptr(std::logic_error("instead")));
  CHECK_THROWS_AS(eddy::block_on(loop, std::move(f)), std::logic_error);
}

TEST_CASE_FIXTURE(async_fixture,
                  "a promise, its future and its value can be destroyed in any order") {
  int alive = 0;
  SUBCASE("the future first, without a value") {
    eddy::promise<counted> p(loop);
    {
      auto f = p.get_future();
    }
    CHECK_FALSE(p.wanted());
    p.set_value(alive);
  }
  SUBCASE("the future first, with a value") {
    eddy::promise<counted> p(loop);
    auto f = p.get_future();
    p.set_value(alive);
    CHECK(alive == 1);
    f = {};
    CHECK(alive == 0);
  }
  SUBCASE("the promise first") {
    auto p = std::make_unique<eddy::promise<counted>>(loop);
    auto f = p->get_future();
    p->set_value(alive);
    p.reset();
    CHECK(alive == 1);
  }
  SUBCASE("the promise, without a future") { const eddy::promise<counted> p(loop); }
  SUBCASE("the promise, set before get_future") {
    eddy::promise<counted> p(loop);
    p.set_value(alive);
    const counted value = eddy::block_on(loop, p.get_future());
    CHECK(alive > 0);
  }
  CHECK(alive == 0);
}

TEST_CASE_FIXTURE(
    async_fixture,
    "an untaken error leaves run when the future is destroyed, not when the promise is") {
  eddy::promise<> p(loop);
  auto f = p.get_future();
  const auto fail = [&] { p.set_error(std::make_exception_ptr(std::runtime_error("unseen"))); };
  SUBCASE("future destroyed") {
    fail();
    f = {};
  }
  SUBCASE("future detached before the error") {
    std::move(f).detach();
    fail();
  }
  SUBCASE("future detached after the error") {
    fail();
    std::move(f).detach();
  }
  CHECK_THROWS_WITH(loop.run(), "unseen");
  loop.run();  // throws the error only once
}

TEST_CASE_FIXTURE(async_fixture,
                  "a value that owns its own promise can be destroyed as it is set") {
  struct owner {
    std::optional<eddy::promise<std::shared_ptr<owner>>> promise;
  };
  auto value = std::make_shared<owner>();
  const std::weak_ptr<owner> alive = value;
  auto& promise = value->promise.emplace(loop);
  SUBCASE("in a detached future") { promise.get_future().detach(); }
  SUBCASE("without a future") { static_cast<void>(promise.get_future()); }
  promise.set_value(std::move(value));
  loop.run();
  CHECK(alive.expired());
}

TEST_CASE("a promise whose future is destroyed may outlive the loop") {
  std::optional<eddy::event_loop> loop(std::in_place);
  eddy::promise<int> set(*loop);
  eddy::promise<int> unset(*loop);
  static_cast<void>(set.get_future());
  static_cast<void>(unset.get_future());
  loop.reset();
  set.set_value(1);
}

TEST_CASE_FIXTURE(async_fixture, "destroying the future calls the on_cancel function") {
  journal note;
  auto p = std::make_unique<eddy::promise<int>>(loop);
  auto f = p->get_future();

  SUBCASE("inside the destructor") {
    p->on_cancel([&] { note("stop"); });
    f = {};
    CHECK(note == "stop");
  }
  SUBCASE("which may destroy the promise") {
    p->on_cancel([&] { p.reset(); });
    f = {};
    CHECK_FALSE(p);
  }
  SUBCASE("which may set the promise, without effect") {
    p->on_cancel([&] { p->set_value(1); });
    f = {};
  }
  SUBCASE("which may throw; the error leaves run") {
    p->on_cancel([] { throw std::runtime_error("stop"); });
    f = {};
    CHECK_THROWS_AS(loop.run(), std::runtime_error);
  }
  SUBCASE("but not once the promise is set") {
    p->on_cancel([&] { note("stop"); });
    p->set_value(1);
    f = {};
    CHECK(note == "");
  }
}

TEST_CASE_FIXTURE(async_fixture, "an on_cancel function that owns its promise is no leak") {
  int alive = 0;
  struct work {
    work(eddy::event_loop& l, int& a) : end(l), here(a) {}
    eddy::promise<int> end;
    counted here;
  };
  auto w = std::make_shared<work>(loop, alive);
  auto* const raw = w.get();
  auto f = raw->end.get_future();
  raw->end.on_cancel([w = std::move(w)] {});
  REQUIRE(alive == 1);

  SUBCASE("set") {
    raw->end.set_value(2);
    CHECK(eddy::block_on(loop, std::move(f)) == 2);
  }
  SUBCASE("cancelled") { f = {}; }
  CHECK(alive == 0);
}

TEST_CASE_FIXTURE(async_fixture,
                  "destroying an on_cancel function may set another on_cancel function") {
  int alive = 0;
  auto p = std::make_unique<eddy::promise<int>>(loop);
  auto* const raw = p.get();
  auto f = raw->get_future();
  raw->on_cancel([p = std::move(p), held = counted(alive)] {});
  CHECK(alive == 1);
  bool stopped = false;
  raw->on_cancel([&] { stopped = true; });  // destroys the function that owns the promise
  CHECK(alive == 0);
  CHECK_FALSE(stopped);
  CHECK_THROWS_AS(eddy::block_on(loop, std::move(f)), eddy::broken_promise);
}

TEST_CASE_FIXTURE(async_fixture, "setting the promise destroys the on_cancel function") {
  int alive = 0;
  eddy::promise<int> p(loop);
  auto f = p.get_future();
  p.on_cancel([held = counted(alive)] {});
  CHECK(alive == 1);
  p.set_value(1);
  CHECK(alive == 0);
  CHECK(f.ready());
}

TEST_CASE("misuse of a promise aborts") {
  using promise = eddy::promise<int>;
  dies_saying("a promise was set twice", [] {
    eddy::event_loop loop;
    promise p(loop);
    p.set_value(1);
    p.set_value(2);
  });
  dies_saying("a promise was set twice", [] {
    eddy::event_loop loop;
    promise p(loop);
    p.set_value(1);
    promise q(std::move(p));
    q.set_error(std::make_error_code(std::errc::io_error));
  });
  dies_saying("promise::set_error was given no error", [] {
    eddy::event_loop loop;
    promise p(loop);
    p.set_error(std::exception_ptr());
  });
  dies_saying("promise::get_future was called twice", [] {
    eddy::event_loop loop;
    promise p(loop);
    auto f = p.get_future();
    auto g = p.get_future();
  });
  dies_saying("promise was called while no loop runs", [] { promise p; });
}

TEST_SUITE("threads") {
  TEST_CASE("setting a promise on another thread aborts") {
    dies_saying("was used from another thread", [] {
      eddy::event_loop loop;
      eddy::promise<int> p(loop);
      auto f = p.get_future();
      loop.defer([&] { std::thread([&] { p.set_value(1); }).join(); });
      loop.run();
    });
  }
}
