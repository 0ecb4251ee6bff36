// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/detail/ring_finder.h>

#include <eddy/loop/detail/misuse.h>

namespace eddy::detail {

void stop_at_ring() noexcept {
  misuse("a task awaited its own future, or the future of a task that awaits it");
}

}  // namespace eddy::detail
