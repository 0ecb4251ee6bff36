// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/timeout.h>

#include <chrono>

#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>

namespace eddy::detail {

void throw_timed_out(duration limit) {
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(limit).count();
  throw_error(std::errc::timed_out, text({"not done within ", ms, " ms"}));
}

}  // namespace eddy::detail
