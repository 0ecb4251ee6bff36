// SPDX-License-Identifier: BSD-2-Clause
// says: an awaitable that has a name must be moved: std::move(x)
#include <utility>

#include <eddy/future/future.h>
#include <eddy/future/task.h>

eddy::task<int> await_named_future(eddy::future<int> value) {
#ifdef MISTAKE
  co_return co_await value;
#else
  co_return co_await std::move(value);
#endif
}
