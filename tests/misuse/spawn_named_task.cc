// SPDX-License-Identifier: BSD-2-Clause
// says: an awaitable that has a name must be moved: std::move(x)
#include <utility>

#include <eddy/future/spawn.h>
#include <eddy/future/task.h>

eddy::task<int> number();
eddy::future<int> spawn_named_task(eddy::event_loop& loop) {
  auto work = number();
#ifdef MISTAKE
  return eddy::spawn(loop, work);
#else
  return eddy::spawn(loop, std::move(work));
#endif
}
