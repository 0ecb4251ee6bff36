// SPDX-License-Identifier: BSD-2-Clause
// says: an awaitable that has a name must be moved: std::move(x), or copied: auto(x)
#include <chrono>

#include <eddy/future/flow/stop_token.h>
#include <eddy/future/select.h>
#include <eddy/future/sleep.h>

eddy::task<> select_named_stop_token(eddy::stop_token stop) {
#ifdef MISTAKE
  co_await eddy::select(stop, eddy::sleep(std::chrono::seconds(1)));
#else
  co_await eddy::select(auto(stop), eddy::sleep(std::chrono::seconds(1)));
#endif
  if (stop.stop_requested()) co_return;
}
