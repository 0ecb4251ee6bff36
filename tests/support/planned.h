// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// Parts of scenarios: work that takes some time, or fails as planned.

#include <utility>

#include <doctest/doctest.h>

#include <eddy/future/sleep.h>
#include <eddy/future/task.h>
#include <eddy/testing/every_point.h>

inline eddy::task<int> after(eddy::trial& t, eddy::duration time, int value) {
  const eddy::trial::part held(t);
  co_await eddy::sleep(time);
  co_return value;
}

inline eddy::task<> wait(eddy::trial& t, eddy::duration time) {
  const eddy::trial::part held(t);
  co_await eddy::sleep(time);
}

inline eddy::task<int> fail_after(eddy::trial& t, eddy::duration time) {
  const eddy::trial::part held(t);
  co_await eddy::sleep(time);
  throw eddy::trial::planned();
}

/// Awaits `work` and checks that it throws a planned error.
template <class Awaitable>
eddy::task<> expect_planned(Awaitable work) {
  bool thrown = false;
  try {
    co_await std::move(work);
  } catch (const eddy::trial::planned&) {
    thrown = true;
  }
  CHECK(thrown);
}
