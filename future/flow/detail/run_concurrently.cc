// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/flow/detail/run_concurrently.h>

#include <eddy/loop/detail/misuse.h>

namespace eddy::detail {

void check_limit(std::size_t limit) {
  if (limit == 0) misuse("a concurrent function was given a limit of 0");
}

}  // namespace eddy::detail
