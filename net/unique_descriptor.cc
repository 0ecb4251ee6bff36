// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/unique_descriptor.h>

#include <eddy/net/detail/system.h>

namespace eddy {

void unique_descriptor::close() noexcept {
  if (const int number = release(); number >= 0) detail::os().close(number);
}

}  // namespace eddy
