// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/loop_sockets.h>

#include <memory>

namespace eddy::detail {

loop_sockets& loop_sockets::of(event_loop& loop) {
  auto& part = loop_access(loop).sockets();
  if (!part) part = std::make_unique<loop_sockets>();
  return *find(loop);
}

void loop_sockets::descriptor_freed(event_loop& loop) noexcept {
  loop_sockets* const shared = find(loop);
  if (shared == nullptr) return;
  list_node& all = shared->descriptor_waiters_;
  while (all.linked()) {
    auto& first = static_cast<descriptor_waiter&>(*all.next);
    first.unlink();
    first.descriptor_freed();
  }
}

}  // namespace eddy::detail
