// SPDX-License-Identifier: BSD-2-Clause
// A test outside the tree, which finds the installed testing kit.
#include <chrono>
#include <cstdio>
#include <string>

#include <eddy/future/sleep.h>
#include <eddy/future/task.h>
#include <eddy/testing/every_point.h>
#include <eddy/testing/failing_new.h>

namespace {

eddy::task<> two_sleeps(eddy::trial&) {
  co_await eddy::sleep(std::chrono::seconds(1));
  co_await eddy::sleep(std::chrono::seconds(1));
}

}  // namespace

int main() {
  const eddy::every_point_report found = eddy::every_point<two_sleeps>();
  std::printf("%zu points, %zu allocations, %zu runs\n", found.points, found.allocations,
              found.runs);
  for (const std::string& failure : found.failures) std::printf("%s\n", failure.c_str());
  return found.points != 0 && found.allocations != 0 && found.failures.empty() ? 0 : 1;
}
