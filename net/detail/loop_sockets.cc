// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/loop_sockets.h>

#include <memory>

namespace eddy::detail {

loop_sockets& loop_sockets::of(event_loop& loop) {
  if (!loop.sockets_) loop.sockets_ = std::make_unique<loop_sockets>();
  return *find(loop);
}

}  // namespace eddy::detail
