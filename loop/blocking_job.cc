// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/blocking_job.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include <pthread.h>

#include <eddy/loop/detail/misuse.h>

namespace eddy {

struct blocking_job::state {
  state(event_loop& loop, handler<void()>&& w, handler<void()>&& d)
      : work(std::move(w)), on_done(std::move(d)), way_back(loop.remote()), keeps(loop) {}

  handler<void()> work;  // the worker's, from the start to the end
  handler<void()> on_done;
  remote way_back;
  std::optional<keep_alive> keeps;    // empty: nobody waits any more
  std::atomic<bool> unwanted{false};  // what the worker sees of that
};

namespace {

using job = std::function<void()>;

class pool {
public:
  static constexpr unsigned most = 16;
  static constexpr std::chrono::seconds patience{10};

  // Never destroyed: a worker may be at work when the process ends. After a
  // fork the old one is left as it is, for its lock may be held for ever.
  static pool& instance() {
    static std::atomic<pool*> current{new pool};
    [[maybe_unused]] static const int registered =
        ::pthread_atfork(nullptr, nullptr, [] { current.store(new pool); });
    return *current.load();
  }

  void put(job work) {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(work));
    if (jobs_.size() <= idle_ || threads_ == most) {
      arrived_.notify_one();
      return;
    }
    try {
      start();
    } catch (...) {
      if (threads_ != 0) return;  // one of them will come to it
      jobs_.pop_back();
      throw;
    }
  }

private:
  void start() {
    // Signals are for the program's own threads.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      std::thread([this] { work(); }).detach();
      ++threads_;
    } catch (...) {
      ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
      throw;
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      ++idle_;
      const bool any = arrived_.wait_for(lock, patience, [this] { return !jobs_.empty(); });
      --idle_;
      if (!any) break;
      job next = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      next();
      next = nullptr;
      lock.lock();
    }
    --threads_;
  }

  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<job> jobs_;
  std::size_t idle_ = 0;
  unsigned threads_ = 0;
};

}  // namespace

blocking_job::blocking_job(event_loop& loop, handler<void()> work, handler<void()> on_done)
    : state_(std::make_shared<state>(loop, std::move(work), std::move(on_done))) {
  detail::expect_handler(state_->work, "blocking_job");
  detail::expect_handler(state_->on_done, "blocking_job");
  pool::instance().put([s = state_] {
    if (s->unwanted.load(std::memory_order_relaxed)) return;
    s->work();
    s->work = nullptr;
    s->way_back.post([s] {
      if (!s->keeps) return;
      s->keeps.reset();
      std::exchange(s->on_done, nullptr)();
    });
  });
}

blocking_job::blocking_job(blocking_job&&) noexcept = default;

blocking_job::~blocking_job() {
  if (!state_) return;
  state_->unwanted.store(true, std::memory_order_relaxed);
  state_->keeps.reset();
  state_->on_done = nullptr;
}

}  // namespace eddy
