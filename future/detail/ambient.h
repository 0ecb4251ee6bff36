// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <optional>

#include <eddy/future/detail/task_local_values.h>
#include <eddy/loop/clock.h>

namespace eddy::detail {

/// The deadline and the task_locals that apply to a coroutine because of the coroutines that
/// await it. A walk up the await tree fills this in, from the inside out.
struct ambient {
  std::optional<time_point> deadline;    // the earliest
  const local_values* locals = nullptr;  // the nearest

  void note(time_point t) noexcept {
    if (!deadline || t < *deadline) deadline = t;
  }
  void note(const local_values& l) noexcept {
    if (locals == nullptr) locals = &l;
  }
  [[nodiscard]] local_values values() const noexcept {
    return locals == nullptr ? local_values() : *locals;
  }
};

}  // namespace eddy::detail
