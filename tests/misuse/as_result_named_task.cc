// SPDX-License-Identifier: BSD-2-Clause
// says: an awaitable that has a name must be moved: std::move(x)
#include <utility>

#include <eddy/future/as_result.h>
#include <eddy/future/task.h>

eddy::task<int> number();
eddy::task<bool> as_result_named_task() {
  auto work = number();
#ifdef MISTAKE
  const auto end = co_await eddy::as_result(work);
#else
  const auto end = co_await eddy::as_result(std::move(work));
#endif
  co_return end.has_value();
}
