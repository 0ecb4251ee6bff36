// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/pending.h>

#include <eddy/net/detail/delivery.h>

namespace eddy {

void pending::stop() noexcept {
  if (delivery_ == nullptr) return;
  delivery_->loop().check_thread();
  delete release();
}

bool pending::active() const noexcept {
  if (delivery_ != nullptr) delivery_->loop().check_thread();
  return delivery_ != nullptr;
}

void pending::hold() noexcept {
  if (delivery_ == nullptr) return;
  delivery_->loop().check_thread();
  delivery_->holder_ = this;
}

}  // namespace eddy
