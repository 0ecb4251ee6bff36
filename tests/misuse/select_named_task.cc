// SPDX-License-Identifier: BSD-2-Clause
// says: an awaitable that has a name must be moved: std::move(x)
#include <utility>

#include <eddy/future/select.h>
#include <eddy/future/task.h>

eddy::task<int> number();
eddy::task<> select_named_task() {
  auto work = number();
#ifdef MISTAKE
  co_await eddy::select(work, number());
#else
  co_await eddy::select(std::move(work), number());
#endif
}
