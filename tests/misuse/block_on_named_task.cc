// SPDX-License-Identifier: BSD-2-Clause
// says: an awaitable that has a name must be moved: std::move(x)
#include <utility>

#include <eddy/future/block_on.h>
#include <eddy/future/task.h>

eddy::task<int> number();
int block_on_named_task() {
  auto work = number();
#ifdef MISTAKE
  return eddy::block_on(work);
#else
  return eddy::block_on(std::move(work));
#endif
}
