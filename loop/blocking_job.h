// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <memory>

#include <eddy/loop/handler.h>
#include <eddy/loop/keep_alive.h>

namespace eddy {

namespace detail {
class process_pool;
}

/// Runs a function that blocks on a worker thread, and then a handler on the loop.
///
/// The process has at most 16 workers for all its loops. They start when there is
/// work, and end when they had none for ten seconds. A job that finds all of them
/// busy waits until one is free. Looking up names has workers of its own: see
/// `resolve`.
///
/// `work` runs with the signal mask of the thread that made the loop, and so does
/// a program that it starts. Signals that tell of a fault, such as SIGSEGV, are
/// never blocked. Between jobs a worker blocks the signals that are sent to the
/// process, so that they reach the program's own threads.
///
/// Fork: the child starts with no worker and gets its own. A job of before the
/// fork ends in the parent. The child's copy of it never does, and keeps the child's
/// loop running: destroy it.
///
/// Lifetime: the loop outlives it.
/// Cancelling: destroying it takes back work that has not begun. Work that has
/// begun can't be stopped: it runs to its end, unseen, and its worker is busy until
/// then; it must own what it uses.
/// Threads: `work` runs on another thread; everything else is the loop's.
class [[nodiscard("destroying a blocking_job cancels its work: keep it")]] blocking_job {
public:
  /// Has `work`, which must not throw, run on a worker thread, and then
  /// `on_done` on the loop.
  /// Errors: `std::system_error` if no thread can be started; `std::bad_alloc`.
  blocking_job(event_loop& loop, handler<void()> work, handler<void()> on_done);
  /// The same on workers of `pool`.
  blocking_job(event_loop& loop, detail::process_pool& pool, handler<void()> work,
               handler<void()> on_done);
  blocking_job(blocking_job&&) noexcept;
  blocking_job& operator=(blocking_job&&) = delete;
  ~blocking_job();

private:
  struct state;
  std::shared_ptr<state> state_;
};

}  // namespace eddy
