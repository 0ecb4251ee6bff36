// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/future/block_on.h>

#include <eddy/future/detail/way_of_error.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>

namespace eddy::detail {

void forbid_nested_block_on() noexcept {
  if (event_loop::current() != nullptr) {
    misuse("block_on was called while a loop runs on this thread, which it would freeze: co_await");
  }
}

void run_until_ready(const future_core& work) {
  event_loop& loop = work.loop();
  loop.run();
  if (work.ready()) {
    if (work.failed()) tell_way_on_terminate();
    return;
  }
  if (loop.stopped()) {
    throw_error(std::errc::operation_canceled, "block_on: the loop was stopped");
  }
  throw deadlock(text({"block_on waits for what nothing on the loop can end:\n", loop.dump()}));
}

}  // namespace eddy::detail
