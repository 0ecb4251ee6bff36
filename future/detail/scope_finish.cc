// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/detail/scope_finish.h>

#include <system_error>

#include <eddy/loop/detail/throw_error.h>

namespace eddy::detail {

void throw_finish_cancelled() {
  throw_error(std::errc::operation_canceled, "scope::finish: the scope cancelled the work");
}

}  // namespace eddy::detail
