// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/detail/activation.h>

#include <eddy/future/detail/future_core.h>

namespace eddy::detail {

// Every coroutine that is destroyed looks through the list of cancellations. A million scopes, each
// inside the other and awaited by nobody, would make that quadratic, so these are not listed.
cancellation::cancellation(frame* waiter) noexcept : waiter_(waiter) {
  if (waiter == nullptr) return;
  outer_ = frames_here.cancellations;
  frames_here.cancellations = this;
}

cancellation::~cancellation() {
  if (frames_here.cancellations != this) return;
  frames_here.cancellations = outer_;
  while (future_core* const dropped = dropped_) {
    dropped_ = dropped->next_dropped_;
    dropped->drop_body();
  }
}

}  // namespace eddy::detail
