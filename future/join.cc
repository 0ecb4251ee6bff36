// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/join.h>

namespace eddy::detail {

bool join_wait::begin_all() noexcept {
  for (std::size_t i = 0; i < count_; ++i) {
    branch_base& b = branch_at(i);
    if (b.begin() && over(b)) return false;
  }
  return true;
}

void join_wait::cancel_all() noexcept {
  for (std::size_t i = 0; i < count_; ++i) branch_at(i).cancel();
}

bool join_wait::over(const branch_base& which) noexcept {
  --left_;
  if (which.failed()) {
    failed_ = &which;
    for (std::size_t i = 0; i < count_; ++i) {
      if (branch_base& other = branch_at(i); &other != &which) other.cancel();
    }
  }
  return failed_ != nullptr || left_ == 0;
}

void join_wait::describe(std::string& out, int depth) const {
  out += "all of\n";
  for (std::size_t i = 0; i < count_; ++i) branch_at(i).describe_branch(out, depth + 1);
}

}  // namespace eddy::detail
