// SPDX-License-Identifier: BSD-2-Clause
// says: a task that is spawned into a scope must give void
#include <utility>

#include <eddy/future/scope.h>
#include <eddy/future/task.h>

eddy::task<int> number();
eddy::task<> quiet();
void scope_spawn_value(eddy::scope& all) {
#ifdef MISTAKE
  all.spawn(number());
#else
  all.spawn(quiet());
#endif
}
