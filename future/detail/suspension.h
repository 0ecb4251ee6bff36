// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <eddy/future/detail/ambient.h>

namespace eddy {
class description;
}

namespace eddy::detail {

class frame;

/// The reason why a coroutine is suspended: the base class of eddy's awaiters, except `task_wait`.
///
/// The awaiter lies in the suspended coroutine's frame. The frame points to it from
/// `frame::waits_for` until the loop resumes the coroutine.
class suspension {
public:
  suspension() noexcept = default;
  suspension(const suspension&) = delete;
  suspension& operator=(const suspension&) = delete;

  /// Adds a node that names what the coroutine waits for, and the nodes below it. A dump may call
  /// this at any time, also while the work below is being destroyed.
  virtual void describe(description& to) const = 0;

  /// Adds the deadline or the task_locals that this awaiter sets for the work below it.
  virtual void add_to(ambient&) const noexcept {}

  /// The coroutine that this awaiter owns; null if it owns none, or several.
  [[nodiscard]] virtual frame* child() const noexcept { return nullptr; }
  /// Destroys `child()`, whose own children are destroyed already.
  virtual void destroy_child() noexcept {}

protected:
  ~suspension() = default;
};

}  // namespace eddy::detail
