// SPDX-License-Identifier: BSD-2-Clause
//
// Runs shell commands in parallel, a few at a time, and keeps their outputs apart. Ctrl-C ends the
// commands that run: select cancels them. callback.cc does the same with handlers.
//
//   ./samples/run run_many await -j 2 'sleep 1; date' 'uname -a' 'ls /nowhere'

#include <cstddef>
#include <cstdio>
#include <exception>
#include <ranges>
#include <utility>

#include <signal.h>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/flow/concurrent.h>
#include <eddy/future/select.h>
#include <eddy/future/task.h>
#include <eddy/future/until.h>
#include <eddy/net/run.h>

#include "jobs.h"

namespace {

eddy::task<> run_one(jobs& all, std::size_t number) {
  auto running = eddy::run(all.options(number));
  const auto end = co_await eddy::as_result(std::move(running));
  all.ended(number, end);
}

eddy::task<> run_all(jobs& all) {
  auto one = [&](std::size_t number) { return run_one(all, number); };
  auto each =
      eddy::for_each_concurrent(std::views::iota(std::size_t{0}, all.size()), all.at_once(), one);
  co_await std::move(each);
}

eddy::task<bool> run_until_interrupted(jobs& all) {
  // The signal first: it must be watched before the first command starts.
  auto first = eddy::select(eddy::until_signal(SIGINT), run_all(all));
  const auto ended = co_await std::move(first);
  co_return ended.index() == 1;
}

}  // namespace

int main(int argc, char** argv) try {
  jobs all(argc, argv);
  eddy::event_loop loop;
  const bool complete = eddy::block_on(loop, run_until_interrupted(all));
  loop.run();  // reaps the commands that were interrupted
  return complete ? all.exit_code() : 130;
} catch (const std::exception& e) {
  std::fprintf(stderr, "run_many: %s\n", e.what());
  return 1;
}
