// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/sleep.h>

namespace eddy::detail {

sleep_wait::sleep_wait(sleep_operation what) : timer_node(current_loop("sleep"), &go_on) {
  set(what.until(), what.exactness());
}

void sleep_wait::describe(std::string& out, int) const {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline() - loop().after({}));
  out += "sleep, " + std::to_string(left.count()) + " ms left\n";
}

}  // namespace eddy::detail
