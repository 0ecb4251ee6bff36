// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/pending.h>

#include <eddy/net/detail/delivery.h>

namespace eddy {

void pending::stop() noexcept {
  if (delivery_ == nullptr) return;
  delivery_->loop().check_thread();
  delete release();
}

void pending::hold() noexcept {
  if (delivery_ == nullptr) return;
  delivery_->loop().check_thread();
  delivery_->holder_ = this;
}

}  // namespace eddy
