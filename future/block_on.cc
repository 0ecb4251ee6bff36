// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/block_on.h>

#include <eddy/future/detail/await_trail.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>

namespace eddy::detail {

void forbid_nested_block_on() noexcept {
  if (event_loop::current() != nullptr) {
    misuse(
        "block_on was called inside a handler or a coroutine, where it would block the loop: "
        "use co_await");
  }
}

void run_until_ready(const future_core& work) {
  event_loop& loop = work.loop();
  loop.run();
  if (work.ready()) {
    if (work.failed()) print_trail_on_terminate();
    return;
  }
  if (loop.stopped()) {
    throw_error(std::errc::operation_canceled,
                "block_on: the loop was stopped before the work completed");
  }
  throw deadlock(
      text({"deadlock: nothing on the loop can complete what block_on waits for:\n", loop.dump()}));
}

template outcome<void> run_to_end<task<>>(event_loop& loop, task<>&& work);

}  // namespace eddy::detail
