// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/flow/concurrent.h>

#include <eddy/loop/event_loop.h>

namespace eddy::detail {

void check_limit(std::size_t limit) {
  if (limit == 0) misuse("a limit of 0 would let none run");
}

bool room_wait::begin_next() noexcept {
  if (next_ != nullptr) begin(*std::exchange(next_, nullptr));
  return has_to_wait();
}

}  // namespace eddy::detail
