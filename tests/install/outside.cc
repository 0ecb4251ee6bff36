// SPDX-License-Identifier: BSD-2-Clause
// A program outside the tree, which finds an installed eddy.
#include <chrono>
#include <cstdio>

#include <eddy/future/block_on.h>
#include <eddy/future/sleep.h>
#include <eddy/future/task.h>
#include <eddy/loop/event_loop.h>
#include <eddy/version.h>

namespace {

eddy::task<int> answer() {
  co_await eddy::sleep(std::chrono::milliseconds(1));
  co_return 42;
}

}  // namespace

int main() {
  eddy::event_loop loop;
  std::printf("%d, by eddy %s\n", eddy::block_on(loop, answer()), eddy::version());
}
