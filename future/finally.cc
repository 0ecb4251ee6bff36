// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/finally.h>

#include <eddy/future/detail/way_of_error.h>

namespace eddy::detail {

clean_up_on_exit::~clean_up_on_exit() {
  try {
    if (work_) outer_->spawn(std::move(work_));
  } catch (...) {  // for want of memory
    outer_->loop().raise(std::current_exception());
  }
  if (error_ != nullptr) outer_->loop().raise(std::move(error_));
}

void clean_up_on_exit::rethrow(outcome<void> clean_up) {
  if (error_ == nullptr) return get<void>(std::move(clean_up));
  if (!clean_up) outer_->loop().raise(std::move(clean_up.error()));
  error_is_handed_on(error_);  // by the work, over the clean-up
  frame::error_comes_again(error_);
  std::rethrow_exception(std::exchange(error_, nullptr));
}

}  // namespace eddy::detail
