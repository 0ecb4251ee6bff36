// SPDX-License-Identifier: BSD-2-Clause
// What <eddy/loop/keep_alive.h> promises.
#include <eddy/loop/keep_alive.h>

#include <memory>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>

#include <doctest/doctest.h>

#include "support/any_loop.h"
#include "support/forked.h"
#include "support/tidy.h"

static_assert(std::is_nothrow_move_constructible_v<eddy::keep_alive>);
static_assert(!std::is_copy_constructible_v<eddy::keep_alive>);

TEST_SUITE("threads") {
  TEST_CASE_TEMPLATE("a loop that is kept alive waits for what another thread posts", Loop,
                     ANY_LOOP) {
    Loop on;
    std::optional<eddy::keep_alive> kept(on.loop);
    bool posted = false;
    std::thread other([remote = on.loop.remote(), &posted, &kept] {
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

TEST_CASE_FIXTURE(with_loop, "a loop that nothing keeps alive returns") {
  {
    const eddy::keep_alive gone(loop);
  }
  loop.run();
}

TEST_CASE_FIXTURE(with_loop, "moving one hands over what it does") {
  std::optional<eddy::keep_alive> first(loop);
  std::optional<eddy::keep_alive> second(std::move(*first));
  first.reset();
  loop.defer([&] { second.reset(); });
  loop.run();
}

TEST_CASE("a loop that is destroyed while it is kept alive stops the program") {
  const tidy leaves_nothing;
  dies_saying("1 keep_alive", [] {
    std::optional<eddy::event_loop> loop(std::in_place);
    const eddy::keep_alive kept(*loop);
    loop.reset();
  });
}

TEST_CASE_FIXTURE(tidy, "letting a running loop go from another thread stops the program") {
  dies_saying("post is the way in", [] {
    eddy::event_loop loop;
    std::optional<eddy::keep_alive> kept(loop);
    loop.defer([&] { std::thread([&] { kept.reset(); }).join(); });
    loop.run();
  });
}
