// SPDX-License-Identifier: BSD-2-Clause
// says: a handler of this signature can't be made of this callable: compare the arguments
#include <chrono>

#include <eddy/loop/timer.h>

void handler_parameters(eddy::timer& alarm) {
#ifdef MISTAKE
  alarm.start(std::chrono::seconds(1), [](int) {});
#else
  alarm.start(std::chrono::seconds(1), [] {});
#endif
}
