// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/timeout.h>

#include <system_error>

namespace eddy::detail {

void throw_timed_out(duration limit) {
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(limit).count();
  throw std::system_error(std::make_error_code(std::errc::timed_out),
                          "not done within " + std::to_string(ms) + " ms");
}

}  // namespace eddy::detail
