// SPDX-License-Identifier: BSD-2-Clause
// says: this does nothing without co_await
#include <chrono>

#include <eddy/future/sleep.h>
#include <eddy/future/task.h>

eddy::task<> forgotten_await_of_sleep() {
  co_await eddy::sleep(std::chrono::seconds(1));
#ifdef MISTAKE
  eddy::sleep(std::chrono::seconds(1));
#else
  co_await eddy::sleep(std::chrono::seconds(1));
#endif
}
