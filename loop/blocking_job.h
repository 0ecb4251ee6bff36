// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <memory>

#include <eddy/loop/handler.h>
#include <eddy/loop/keep_alive.h>

namespace eddy {

/// Runs a function that blocks on a worker thread, and then a handler on the loop.
///
/// Worker threads are the process's: they start when there is work, at most 16
/// at a time, and end when there was none for ten seconds. What finds all of
/// them busy waits its turn.
///
/// Fork: the child starts with no worker and gets its own. A job of before the
/// fork ends in the parent; the child's copy of it never does: destroy it.
///
/// Lifetime: the loop outlives it.
/// Cancelling: destroying it takes work back that has not begun. Work that has
/// can't be stopped: it runs to its end, unseen; it must own what it uses.
/// Threads: `work` runs on another thread; everything else is the loop's.
class [[nodiscard]] blocking_job {
public:
  /// Has `work`, which must not throw, run on a worker thread, and then
  /// `on_done` on the loop.
  /// Errors: `std::system_error` if no thread can be started; `std::bad_alloc`.
  blocking_job(event_loop& loop, handler<void()> work, handler<void()> on_done);
  blocking_job(blocking_job&&) noexcept;
  blocking_job& operator=(blocking_job&&) = delete;
  ~blocking_job();

private:
  struct state;
  std::shared_ptr<state> state_;
};

}  // namespace eddy
