// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/pending_operation.h>

#include <eddy/net/detail/delivery.h>

namespace eddy {

void pending_operation::stop() noexcept {
  if (delivery_ == nullptr) return;
  delivery_->loop().check_thread();
  delete release();
}

bool pending_operation::active() const noexcept {
  if (delivery_ != nullptr) delivery_->loop().check_thread();
  return delivery_ != nullptr;
}

void pending_operation::attach() noexcept {
  if (delivery_ == nullptr) return;
  delivery_->loop().check_thread();
  delivery_->owner_ = this;
}

}  // namespace eddy
