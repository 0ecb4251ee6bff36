// SPDX-License-Identifier: BSD-2-Clause
// says: the task or future that this handler returns is destroyed at once
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/loop/event_loop.h>

eddy::task<> quiet();
void handler_coroutine(eddy::event_loop& loop, int& count) {
#ifdef MISTAKE
  loop.defer([&count]() -> eddy::task<> {
    co_await quiet();
    ++count;
  });
#else
  const auto work = [&count]() -> eddy::task<> {
    co_await quiet();
    ++count;
  };
  loop.defer([&loop, work] { eddy::spawn(loop, work).detach(); });
#endif
}
