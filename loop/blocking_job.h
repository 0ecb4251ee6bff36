// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <memory>

#include <eddy/loop/handler.h>
#include <eddy/loop/work_guard.h>

namespace eddy {

namespace detail {
class process_pool;
}

/// Runs a blocking function on a worker thread, and then a handler on the loop.
///
/// The process has at most 16 worker threads for all its loops. Workers start when there is
/// work, and end after ten seconds without work. If all workers are busy, a job waits until a
/// worker is free. Name resolution has workers of its own: see `resolve`.
///
/// `work` runs with the signal mask of the thread that made the loop, and so do programs that
/// `work` starts. Signals that report a fault, such as SIGSEGV, are never blocked. Between jobs
/// a worker blocks the signals that are sent to the process, so that the program's own threads
/// receive them.
///
/// Fork: the child process starts without workers, and gets its own. A job from before the fork
/// completes in the parent only. The child's copy of that job never completes and keeps the
/// child's loop running: destroy the copy.
///
/// Lifetime: the loop must outlive the job.
/// Cancelling: the destructor takes back work that has not begun. Work that has begun cannot be
/// stopped: it runs to its end without `on_done`, and keeps its worker busy. So `work` must own
/// everything it uses.
/// Threads: `work` runs on a worker thread. Everything else belongs to the loop's thread.
class [[nodiscard("destroying a blocking_job cancels its work: keep it")]] blocking_job {
public:
  /// Starts `work` on a worker thread; `on_done` then runs on the loop. `work` must not throw.
  /// Aborts with a message if `work` or `on_done` is null.
  /// Errors: `std::system_error` if no thread can be started; `std::bad_alloc`.
  blocking_job(event_loop& loop, handler<void()> work, handler<void()> on_done);
  /// Starts `work` on a worker of `pool`; `on_done` then runs on the loop. `work` must not
  /// throw. Aborts with a message if `work` or `on_done` is null.
  /// Errors: `std::system_error` if no thread can be started; `std::bad_alloc`.
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
