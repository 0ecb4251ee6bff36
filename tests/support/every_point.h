// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <doctest/doctest.h>

#include <eddy/testing/every_point.h>

/// Fails for each failure that `every_point` found, and prints the number of points.
inline void check_report(const eddy::every_point_report& found) {
  MESSAGE(found.points, " points, ", found.allocations, " allocations, ", found.runs, " runs");
  for (const auto& failure : found.failures) FAIL_CHECK(failure);
}

/// A test case that is a scenario: a coroutine `(trial& t)`. `every_point` ends it at each
/// of its points, with ready descriptors reported in their own order and in another order.
#define SCENARIO_TEST(name) SCENARIO_TEST_NAMED(DOCTEST_ANONYMOUS(scenario_), name)
#define SCENARIO_TEST_NAMED(work, name)        \
  static eddy::task<> work(eddy::trial& t);    \
  TEST_CASE(name) {                            \
    check_report(eddy::every_point<&work>());  \
    check_report(eddy::every_point<&work>(1)); \
  }                                            \
  static eddy::task<> work([[maybe_unused]] eddy::trial& t)

/// A test case of a scenario that is an object, which also ends with reported descriptors in a
/// third order.
#define SCENARIO_OBJECT_TEST(scenario, name)       \
  TEST_CASE(name) {                                \
    check_report(eddy::every_point<scenario>());   \
    check_report(eddy::every_point<scenario>(1));  \
    check_report(eddy::every_point<scenario>(20)); \
  }
