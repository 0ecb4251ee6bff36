// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/sleep.h>

namespace eddy::detail {

void sleep_wait::describe(std::string& out, int) const {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until_ - timer_.loop().after({}));
  out += "sleep, " + std::to_string(left.count()) + " ms left\n";
}

}  // namespace eddy::detail
