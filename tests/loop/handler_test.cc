// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/handler.h>.
#include <eddy/loop/handler.h>

#include <memory>
#include <type_traits>
#include <utility>

#include <doctest/doctest.h>

#include "support/counted.h"

static_assert(std::is_nothrow_move_constructible_v<eddy::handler<void()>>);
static_assert(!std::is_copy_constructible_v<eddy::handler<void()>>);

TEST_CASE("a handler owns its captures, also move-only captures") {
  int got = 0;
  eddy::handler<void(int)> add(
      [&got, base = std::make_unique<int>(40)](int n) { got = *base + n; });
  eddy::handler<void(int)> moved(std::move(add));
  moved(2);
  CHECK(got == 42);
}

TEST_CASE("destroying a handler destroys its captures") {
  int alive = 0;
  eddy::handler<void()> one([c = counted(alive)] {});
  CHECK(alive == 1);
  one = nullptr;
  CHECK(alive == 0);
}

TEST_CASE("a handler that captures three pointers is stored inline") {
  struct three {
    void* a;
    void* b;
    void* c;
    void operator()() const {}
  };
  static_assert(sizeof(eddy::handler<void()>) >= sizeof(three));
  eddy::handler<void()> one(three{});
  // An inline callable lies inside the handler object.
  static_assert(std::is_nothrow_constructible_v<eddy::handler<void()>, three>);
}

TEST_CASE("an empty handler of another signature makes an empty handler") {
  eddy::handler<int()> none;
  CHECK_FALSE(eddy::handler<void()>(std::move(none)));
  CHECK(eddy::handler<void()>(eddy::handler<int()>([] { return 1; })));
}
