// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/sleep.h>

#include <eddy/loop/detail/text.h>

namespace eddy::detail {

sleep_wait::sleep_wait(sleep_operation what) : timer_node(current_loop("sleep"), &go_on) {
  const auto packed = static_cast<duration::rep>(what);
  const time_point until{duration(packed >> 1)};
  if (until <= loop().now()) return;
  set(until, (packed & 1) != 0 ? resolution::fine : resolution::millisecond);
}

void sleep_wait::describe(std::string& out, int) const {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline() - loop().after({}));
  add_text(out, {"sleep, ", left.count(), " ms left\n"});
}

}  // namespace eddy::detail
