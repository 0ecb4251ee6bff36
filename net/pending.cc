// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/pending.h>

#include <eddy/net/detail/delivery.h>

namespace eddy {

void pending::stop() noexcept {
  if (delivery_ != nullptr) release()->abandon();
}

void pending::hold() noexcept {
  if (delivery_ != nullptr) delivery_->holder_ = this;
}

namespace detail {

void delivery_base::abandon() noexcept {
  loop().check_thread();
  holder_ = nullptr;
  if (body_ != nullptr) {
    drop();
  } else {
    delete this;
  }
}

void delivery_base::gone() noexcept {
  if (holder_ == nullptr) {
    delete this;
  } else {
    loop().ready(*this);
  }
}

}  // namespace detail

}  // namespace eddy
