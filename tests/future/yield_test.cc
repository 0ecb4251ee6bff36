// SPDX-License-Identifier: BSD-2-Clause
// What <eddy/future/yield.h> promises.
#include <eddy/future/yield.h>

#include <utility>

#include <doctest/doctest.h>

#include <eddy/future/block_on.h>
#include <eddy/future/spawn.h>

#include "support/async_test.h"
#include "support/journal.h"

ASYNC_TEST("a task that yields goes on when all that is ready has had its turn") {
  journal note;
  loop.defer([&] {
    note("a");
    loop.defer([&] { note("later"); });
  });
  loop.defer([&] { note("b"); });
  co_await eddy::yield();
  note("on");
  co_await eddy::yield();
  CHECK(note == "a b on later");
}

ASYNC_TEST("a million yields grow no stack") {
  const void* const first = __builtin_frame_address(0);
  bool same = true;
  co_await eddy::yield();
  const void* const resumed = __builtin_frame_address(0);
  for (int i = 0; i < 1'000'000; ++i) {
    co_await eddy::yield();
    same = same && __builtin_frame_address(0) == resumed;
  }
  CHECK(same);
  CHECK(first != nullptr);
}

TEST_CASE_FIXTURE(async_fixture, "a task that is dropped in its yield does not go on") {
  journal note;
  struct program {
    static eddy::task<> yields(journal* to) {
      co_await eddy::yield();
      (*to)("never");
    }
  };
  auto f = eddy::spawn(loop, program::yields(&note));
  loop.defer([&] { f = {}; });
  loop.run();
  CHECK(note == "");
}
