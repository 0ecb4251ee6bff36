// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/keep_alive.h>

namespace eddy {

// Out of line, because g++ 14 warns of an uninitialized member where it is inlined into the
// destructor of an empty optional.
keep_alive::~keep_alive() {
  if (loop_ == nullptr) return;
  loop_->check_thread();
  --loop_->keepers_;
}

}  // namespace eddy
