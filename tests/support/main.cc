// SPDX-License-Identifier: BSD-2-Clause
// The program that runs a room's tests. It fails if it selects no test case, so that a
// mistyped file name does not pass.
#include <cstdlib>
#include <iostream>

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "support/run_listener.h"

namespace {

struct something_ran : run_listener {
  using run_listener::run_listener;

  void test_run_end(const doctest::TestRunStats& stats) override {
    if (stats.numTestCasesPassingFilters != 0) return;
    std::cout << "no test case was selected" << std::endl;
    std::_Exit(EXIT_FAILURE);
  }
};

REGISTER_LISTENER("something_ran", 1, something_ran);

}  // namespace
