// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/work_guard.h>.
#include <eddy/loop/work_guard.h>

#include <memory>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>

#include <doctest/doctest.h>

#include "support/any_loop.h"
#include "support/forked.h"
#include "support/tidy.h"

static_assert(std::is_nothrow_move_constructible_v<eddy::work_guard>);
static_assert(!std::is_copy_constructible_v<eddy::work_guard>);

TEST_SUITE("threads") {
  TEST_CASE_TEMPLATE("a loop with a work_guard waits for posts of another thread", Loop, ANY_LOOP) {
    Loop on;
    std::optional<eddy::work_guard> kept(on.loop);
    bool posted = false;
    std::thread other([remote = on.loop.handle(), &posted, &kept] {
      remote.post([&] {
        posted = true;
        kept.reset();
      });
    });
    on.run();
    CHECK(posted);
    other.join();
  }
}

TEST_CASE_FIXTURE(with_loop, "a loop without a work_guard returns") {
  {
    const eddy::work_guard gone(loop);
  }
  loop.run();
}

TEST_CASE_FIXTURE(with_loop, "moving a work_guard hands over its effect") {
  std::optional<eddy::work_guard> first(loop);
  std::optional<eddy::work_guard> second(std::move(*first));
  first.reset();
  loop.defer([&] { second.reset(); });
  loop.run();
}

TEST_CASE("destroying a loop before its work_guard aborts") {
  const tidy leaves_nothing;
  dies_saying("1 work_guard", [] {
    std::optional<eddy::event_loop> loop(std::in_place);
    const eddy::work_guard kept(*loop);
    loop.reset();
  });
}

TEST_CASE_FIXTURE(tidy, "destroying a work_guard of a running loop on another thread aborts") {
  dies_saying("use event_loop::post", [] {
    eddy::event_loop loop;
    std::optional<eddy::work_guard> kept(loop);
    loop.defer([&] { std::thread([&] { kept.reset(); }).join(); });
    loop.run();
  });
}
