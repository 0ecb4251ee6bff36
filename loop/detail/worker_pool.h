// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

#include <eddy/loop/clock.h>
#include <eddy/loop/detail/list_node.h>
#include <eddy/loop/detail/signal_mask.h>

namespace eddy::detail {

/// Threads that run jobs which block. Threads start when there is work, and end after some time
/// without work.
///
/// A job without a waiter is given up. If it has not begun, it is taken out of the queue;
/// otherwise its thread no longer counts against `at_once`. So jobs that hang keep other jobs
/// from running only as long as they have waiters, or when the limit of `threads` is reached.
///
/// A job runs with a signal mask of its own. Between jobs a thread blocks
/// `signal_mask::of_idle_worker`.
///
/// Threads: any.
class worker_pool {
public:
  struct limits {
    std::size_t at_once;  // running jobs that have a waiter
    std::size_t threads;  // threads in all
    duration idle;        // the time that a thread waits for a job before it ends
  };

  /// A piece of work. The pool holds a job until it has run or was given up.
  class job : private list_node {
  public:
    job(const job&) = delete;
    job& operator=(const job&) = delete;
    virtual ~job() = default;

  protected:
    /// Makes a job that runs with `mask`.
    explicit job(signal_mask mask) noexcept : mask_(mask) {}

  private:
    friend class worker_pool;
    enum class phase : std::uint8_t { outside, queued, running, given_up };

    virtual void run() noexcept = 0;

    signal_mask mask_;
    phase phase_ = phase::outside;
    std::shared_ptr<job> held_;  // the pool's share of this job
  };

  /// The clock of idle threads. A test moves its own.
  class clock {
  public:
    constexpr clock() noexcept = default;
    clock(const clock&) = delete;
    clock& operator=(const clock&) = delete;
    constexpr virtual ~clock() = default;

    [[nodiscard]] virtual time_point now();
    /// Waits for `arrived` until `then`, or less long.
    virtual void wait_until(std::condition_variable& arrived, std::unique_lock<std::mutex>& lock,
                            time_point then);
  };

  explicit worker_pool(limits most) noexcept;
  worker_pool(limits most, clock& time) noexcept : most_(most), clock_(time) {}
  worker_pool(const worker_pool&) = delete;
  worker_pool& operator=(const worker_pool&) = delete;
  /// Waits for the threads to end. Jobs that have not begun are destroyed.
  ~worker_pool();

  /// Queues `work` for a thread.
  /// Errors: `std::system_error` if there is no thread and none can be started.
  void put(std::shared_ptr<job> work);

  /// Notes that `work` has no waiter any more. True if it will not run.
  bool give_up(job& work) noexcept;

  /// Returns the number of threads. `idle` returns how many of them have no job.
  [[nodiscard]] std::size_t threads() const noexcept;
  [[nodiscard]] std::size_t idle() const noexcept;

private:
  /// Whether the first job in the queue may begin.
  [[nodiscard]] bool may_begin() const noexcept { return queued_ != 0 && wanted_ < most_.at_once; }
  [[nodiscard]] bool find_thread();
  void start_thread();
  void work();
  [[nodiscard]] bool wait_for_job(std::unique_lock<std::mutex>& lock);
  [[nodiscard]] std::shared_ptr<job> take_first() noexcept;
  void take_out(job& work) noexcept;

  const limits most_;
  clock& clock_;
  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::condition_variable gone_;
  list_node jobs_;
  std::size_t queued_ = 0;
  std::size_t wanted_ = 0;  // running jobs that were not given up
  std::size_t idle_ = 0;    // threads without a job, including new threads
  std::size_t threads_ = 0;
  bool ending_ = false;
};

/// A pool that exists once per process.
///
/// The pool is made at its first use and never destroyed, because a thread may be at work when
/// the process ends. The child of a fork has none of the threads and gets a pool of its own. The
/// parent's pool is left as it was there, because its lock may be held.
class process_pool {
public:
  constexpr explicit process_pool(worker_pool::limits most) noexcept : most_(most) {}
  process_pool(const process_pool&) = delete;
  process_pool& operator=(const process_pool&) = delete;

  /// Errors: `std::bad_alloc`.
  [[nodiscard]] worker_pool& get();

  /// Whether `pool` belongs to this process, and not to a parent.
  [[nodiscard]] bool owns(const worker_pool& pool) const noexcept {
    return pool_.load(std::memory_order_acquire) == &pool;
  }

private:
  static void forget_all() noexcept;

  static constinit inline std::atomic<process_pool*> first_{nullptr};

  const worker_pool::limits most_;
  std::atomic<worker_pool*> pool_{nullptr};
  std::atomic<bool> listed_{false};
  process_pool* next_ = nullptr;
};

}  // namespace eddy::detail
