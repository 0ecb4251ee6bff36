// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <doctest/doctest.h>

#include <eddy/testing/every_point.h>

/// Checks what `every_point` has found, and prints how many points there were.
inline void check_report(const eddy::every_point_report& found) {
  MESSAGE(found.points, " points, ", found.allocations, " allocations, ", found.runs, " runs");
  for (const auto& failure : found.failures) FAIL_CHECK(failure);
}

/// A test case that is a scenario: a coroutine `(trial& t)`, which is ended at
/// each of its points, with descriptors in their own order and in another.
#define SCENARIO_TEST(name) SCENARIO_TEST_NAMED(DOCTEST_ANONYMOUS(scenario_), name)
#define SCENARIO_TEST_NAMED(work, name)        \
  static eddy::task<> work(eddy::trial& t);    \
  TEST_CASE(name) {                            \
    check_report(eddy::every_point<&work>());  \
    check_report(eddy::every_point<&work>(1)); \
  }                                            \
  static eddy::task<> work([[maybe_unused]] eddy::trial& t)
