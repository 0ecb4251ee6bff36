// SPDX-License-Identifier: BSD-2-Clause
// says: destroying a pending_operation cancels the operation
#include <eddy/net/connect.h>

eddy::pending_operation forgotten_pending_operation(eddy::event_loop& loop) {
  const auto handler = [](eddy::result<eddy::tcp_stream>) {};
#ifdef MISTAKE
  eddy::connect(loop, eddy::address::loopback_v4(80), handler);
  return {};
#else
  return eddy::connect(loop, eddy::address::loopback_v4(80), handler);
#endif
}
