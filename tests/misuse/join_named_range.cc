// SPDX-License-Identifier: BSD-2-Clause
// says: a range that has a name must be moved: std::move(x)
#include <utility>
#include <vector>

#include <eddy/future/join.h>
#include <eddy/future/task.h>

eddy::task<> join_named_range(std::vector<eddy::task<>> all) {
#ifdef MISTAKE
  co_await eddy::join(all);
#else
  co_await eddy::join(std::move(all));
#endif
}
