// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/flow/detail/limited_wait.h>

namespace eddy::detail {

bool limited_wait_base::begin_next() noexcept {
  if (next_ != nullptr) begin(*std::exchange(next_, nullptr), true);
  return has_to_wait();
}

}  // namespace eddy::detail
