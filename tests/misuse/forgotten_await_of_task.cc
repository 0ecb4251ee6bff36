// SPDX-License-Identifier: BSD-2-Clause
// says: a task does nothing without co_await or spawn
#include <eddy/future/task.h>

eddy::task<> quiet();
eddy::task<> forgotten_await_of_task() {
  co_await quiet();
#ifdef MISTAKE
  quiet();
#else
  co_await quiet();
#endif
}
