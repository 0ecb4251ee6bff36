// SPDX-License-Identifier: BSD-2-Clause
// says: an awaitable that has a name must be moved: std::move(x)
#include <utility>

#include <eddy/future/join.h>
#include <eddy/future/task.h>

eddy::task<int> number();
eddy::task<> join_named_task() {
  auto work = number();
#ifdef MISTAKE
  co_await eddy::join(work, number());
#else
  co_await eddy::join(std::move(work), number());
#endif
}
