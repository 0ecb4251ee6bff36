// SPDX-License-Identifier: BSD-2-Clause
// says: an awaitable that has a name must be moved: std::move(x)
#include <utility>

#include <eddy/future/task.h>

eddy::task<int> number();
eddy::task<int> await_named_task() {
  auto work = number();
#ifdef MISTAKE
  co_return co_await work;
#else
  co_return co_await std::move(work);
#endif
}
