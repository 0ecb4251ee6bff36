// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/detail/future_state.h>

#include <eddy/future/spawn.h>
#include <eddy/loop/detail/misuse.h>

namespace eddy::detail {

void raise_unseen(event_loop& loop, std::exception_ptr error) noexcept {
  loop.raise(std::move(error));
}

event_loop& current_loop(const char* who_asks) noexcept {
  event_loop* const loop = event_loop::current();
  if (loop == nullptr) {
    const std::string sentence =
        std::string(who_asks) + " was called while no loop runs on this thread: name the loop";
    misuse(sentence.c_str());
  }
  return *loop;
}

}  // namespace eddy::detail
