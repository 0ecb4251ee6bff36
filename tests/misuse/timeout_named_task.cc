// SPDX-License-Identifier: BSD-2-Clause
// says: an awaitable that has a name must be moved: std::move(x)
#include <chrono>
#include <utility>

#include <eddy/future/task.h>
#include <eddy/future/timeout.h>

eddy::task<int> number();
eddy::task<int> timeout_named_task() {
  auto work = number();
#ifdef MISTAKE
  co_return co_await eddy::timeout(std::chrono::seconds(1), work);
#else
  co_return co_await eddy::timeout(std::chrono::seconds(1), std::move(work));
#endif
}
