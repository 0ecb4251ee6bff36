// SPDX-License-Identifier: BSD-2-Clause
// says: a value of this type can't be awaited
#include <eddy/future/join.h>
#include <eddy/future/task.h>

eddy::task<int> number();
eddy::task<> join_number() {
#ifdef MISTAKE
  co_await eddy::join(number(), 5);
#else
  co_await eddy::join(number(), number());
#endif
}
