// SPDX-License-Identifier: BSD-2-Clause
// says: a value of this type can't be awaited
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>

eddy::future<int> spawn_plain_function(eddy::event_loop& loop) {
#ifdef MISTAKE
  return eddy::spawn(loop, [] { return 5; });
#else
  return eddy::spawn(loop, []() -> eddy::task<int> { co_return 5; });
#endif
}
