// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <eddy/loop/event_loop.h>

namespace eddy::detail {

[[noreturn]] void no_current_loop(const char* who_asks) noexcept;

/// The loop that runs on this thread. Without one, the program stops with a sentence that
/// names `who_asks`.
inline event_loop& current_loop(const char* who_asks) noexcept {
  event_loop* const loop = event_loop::current();
  if (loop == nullptr) no_current_loop(who_asks);
  return *loop;
}

}  // namespace eddy::detail
