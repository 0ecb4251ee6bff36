// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/sleep.h>

#include <eddy/loop/description.h>
#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/detail/text.h>

namespace eddy::detail {

sleep_wait::sleep_wait(time_point until, resolution exactness)
    : timer_node(current_loop("sleep"), &go_on) {
  // The turn's time is older than that by which a program finds that a time has come.
  if (until > loop().now() && until > loop().after(duration::zero())) set(until, exactness);
}

void sleep_wait::describe(description& to) const {
  const duration left = between(loop().after(duration::zero()), deadline());
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
  to.add(text({"sleep, ", ms, " ms left"}));
}

}  // namespace eddy::detail
