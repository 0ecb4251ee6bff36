// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/detail/scope_deadline.h>

#include <eddy/future/scope.h>

namespace eddy::detail {

scope_deadline::scope_deadline(scope& s, std::source_location where) noexcept
    : limit_node(s.loop(), &come), scope_(&s), where_(where) {}

void scope_deadline::come(ready_node& node) {
  auto& self = static_cast<scope_deadline&>(static_cast<timer_node&>(node));
  // A deadline that had passed when it was set does not mean that the loop is late.
  if (self.limit_ > duration::zero() && !self.scope_->empty() && self.gives_way()) return;
  self.scope_->tell_deadline();
}

}  // namespace eddy::detail
