// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/work_guard.h>

namespace eddy {

// Not inline: inlined into the destructor of an empty optional, it makes g++ 14 warn about an
// uninitialized member.
work_guard::~work_guard() {
  if (loop_ == nullptr) return;
  loop_->check_thread();
  detail::loop_access(*loop_).remove_keeper();
}

}  // namespace eddy
