// SPDX-License-Identifier: BSD-2-Clause
// says: destroying a pending cancels its operation
#include <eddy/net/connect.h>

eddy::pending forgotten_pending(eddy::event_loop& loop) {
  const auto handler = [](eddy::result<eddy::tcp_stream>) {};
#ifdef MISTAKE
  eddy::connect(loop, eddy::address::loopback_v4(80), handler);
  return {};
#else
  return eddy::connect(loop, eddy::address::loopback_v4(80), handler);
#endif
}
