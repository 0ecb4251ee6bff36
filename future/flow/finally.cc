// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/flow/finally.h>

#include <utility>

#include <eddy/future/detail/await_trail.h>
#include <eddy/future/flow/task_local.h>

namespace eddy::detail {

namespace {

/// Runs a task under given values, whatever values hold where the task is spawned.
class [[nodiscard]] under_values {
public:
  under_values(local_values&& values, task<>&& work) noexcept
      : values_(std::move(values)), work_(std::move(work)) {}
  with_wait<void> operator co_await() && {
    return with_wait<void>(std::move(values_), std::move(work_));
  }

private:
  local_values values_;
  task<> work_;
};

task<> clean_up_under(local_values values, task<> work) {
  co_await under_values(std::move(values), std::move(work));
}

}  // namespace

clean_up_on_exit::~clean_up_on_exit() {
  try {
    if (work_ && values_) {
      outer_->spawn(clean_up_under(std::move(values_), std::move(work_)));
    } else if (work_) {
      outer_->spawn(std::move(work_));
    }
  } catch (...) {  // std::bad_alloc
    outer_->loop().raise(std::current_exception());
  }
  if (error_ != nullptr) outer_->loop().raise(std::move(error_));
}

void clean_up_on_exit::rethrow(outcome<void> clean_up) {
  if (error_ == nullptr) return get<void>(std::move(clean_up));
  if (!clean_up) outer_->loop().raise(std::move(clean_up.error()));
  error_is_handed_on(error_);  // from the work, past the clean-up
  frame::error_comes_again(error_);
  std::rethrow_exception(std::exchange(error_, nullptr));
}

}  // namespace eddy::detail
