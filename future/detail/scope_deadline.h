// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <source_location>

#include <eddy/loop/clock.h>
#include <eddy/loop/detail/limit_node.h>
#include <eddy/loop/ready_node.h>

namespace eddy {

class scope;

namespace detail {

/// The timer behind `scope::set_deadline`.
class scope_deadline final : public limit_node {
public:
  scope_deadline(scope& s, std::source_location where) noexcept;

private:
  friend scope;
  static void come(ready_node& node);

  scope* scope_;
  duration limit_{};
  std::source_location where_;
};

}  // namespace detail

}  // namespace eddy
