// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/with_scope.h>

#include <system_error>

#include <eddy/loop/detail/throw_error.h>

namespace eddy::detail {

void throw_scope_cancelled() {
  throw_error(std::errc::operation_canceled,
              "with_scope: the scope was cancelled before its body completed");
}

}  // namespace eddy::detail
