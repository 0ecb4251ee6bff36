// SPDX-License-Identifier: BSD-2-Clause
// says: start must take a completer and return how to cancel
#include <chrono>

#include <eddy/future/adapt.h>
#include <eddy/future/task.h>
#include <eddy/loop/timer.h>

eddy::task<> adapt_without_cancel(eddy::event_loop& loop) {
  const auto start = [&loop](eddy::completer<> done) {
    eddy::timer alarm(loop);
    alarm.start(std::chrono::seconds(1), [done] { done(); });
#ifndef MISTAKE
    return alarm;
#endif
  };
  co_await eddy::adapt(start);
}
