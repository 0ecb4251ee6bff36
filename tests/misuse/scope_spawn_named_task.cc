// SPDX-License-Identifier: BSD-2-Clause
// says: an awaitable that has a name must be moved: std::move(x)
#include <utility>

#include <eddy/future/scope.h>
#include <eddy/future/task.h>

eddy::task<> quiet();
void scope_spawn_named_task(eddy::scope& all) {
  auto work = quiet();
#ifdef MISTAKE
  all.spawn(work);
#else
  all.spawn(std::move(work));
#endif
}
