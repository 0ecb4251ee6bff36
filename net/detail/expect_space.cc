// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/expect_space.h>

#include <eddy/loop/detail/misuse.h>

namespace eddy::detail {

void expect_space(const mutable_buffer& into) noexcept {
  if (into.size() != 0) return;
  misuse("a read into an empty buffer: its result of 0 would look like the end of the stream");
}

}  // namespace eddy::detail
