// SPDX-License-Identifier: BSD-2-Clause
// says: run_blocking can't run a coroutine
#include <eddy/future/run_blocking.h>
#include <eddy/future/task.h>

eddy::task<int> run_blocking_coroutine(int count) {
#ifdef MISTAKE
  auto work = [count]() -> eddy::task<int> { co_return count; };
  co_return co_await co_await eddy::run_blocking(work);
#else
  auto work = [count] { return count; };
  co_return co_await eddy::run_blocking(work);
#endif
}
