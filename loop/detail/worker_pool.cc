// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/worker_pool.h>

#include <algorithm>
#include <chrono>
#include <system_error>
#include <thread>
#include <utility>

#include <pthread.h>

#include <eddy/loop/detail/throw_error.h>

namespace eddy::detail {

namespace {

constinit worker_pool::clock steady;

/// Sets the signal mask of this thread for a scope.
class masked {
public:
  explicit masked(signal_mask mask) noexcept { mask.install(); }
  masked(const masked&) = delete;
  masked& operator=(const masked&) = delete;
  ~masked() { before_.install(); }

private:
  const signal_mask before_ = signal_mask::current();
};

}  // namespace

time_point worker_pool::clock::now() { return std::chrono::steady_clock::now(); }

void worker_pool::clock::wait_until(std::condition_variable& arrived,
                                    std::unique_lock<std::mutex>& lock, time_point then) {
  arrived.wait_until(lock, then);
}

worker_pool::worker_pool(limits most) noexcept : worker_pool(most, steady) {}

worker_pool::~worker_pool() {
  std::unique_lock lock(mutex_);
  while (jobs_.linked()) take_out(static_cast<job&>(*jobs_.next));
  ending_ = true;
  arrived_.notify_all();
  gone_.wait(lock, [this] { return threads_ == 0; });
}

void worker_pool::put(std::shared_ptr<job> work) {
  std::unique_lock lock(mutex_);
  job& added = *work;
  added.held_ = std::move(work);
  added.phase_ = job::phase::queued;
  jobs_.push_back(added);
  ++queued_;
  bool wakes = false;
  try {
    wakes = find_thread();
  } catch (...) {
    if (threads_ != 0) return;  // one of the threads will take the job
    take_out(added);
    throw;
  }
  // A thread that is woken while the lock is held only waits again, for the lock.
  lock.unlock();
  if (wakes) arrived_.notify_one();
}

bool worker_pool::give_up(job& work) noexcept {
  const std::lock_guard lock(mutex_);
  switch (work.phase_) {
    case job::phase::queued: take_out(work); return true;
    case job::phase::running:
      work.phase_ = job::phase::given_up;
      --wanted_;
      try {
        if (find_thread()) arrived_.notify_one();
      } catch (...) {  // NOLINT(bugprone-empty-catch): an idle thread takes the job later
      }
      return false;
    default: return false;
  }
}

std::size_t worker_pool::threads() const noexcept {
  const std::lock_guard lock(mutex_);
  return threads_;
}

std::size_t worker_pool::idle() const noexcept {
  const std::lock_guard lock(mutex_);
  return idle_;
}

/// Finds a thread for the first job, if the job may begin: starts one, or returns true if the
/// caller has to wake one.
bool worker_pool::find_thread() {
  if (!may_begin()) return false;
  if (std::min(queued_, most_.at_once - wanted_) <= idle_ || threads_ >= most_.threads) return true;
  start_thread();
  return false;
}

void worker_pool::start_thread() {
  // A new thread begins with the mask of the thread that makes it.
  const masked here(signal_mask::of_idle_worker());
  try {
    std::thread([this] { work(); }).detach();
  } catch (const std::system_error& e) {
    throw_error(e.code(), "starting a worker thread");
  }
  ++threads_;
  ++idle_;
}

void worker_pool::take_out(job& work) noexcept {
  work.unlink();
  --queued_;
  work.phase_ = job::phase::outside;
  work.held_.reset();
}

std::shared_ptr<worker_pool::job> worker_pool::take_first() noexcept {
  job& first = static_cast<job&>(*jobs_.next);
  first.unlink();
  --queued_;
  first.phase_ = job::phase::running;
  ++wanted_;
  --idle_;
  return std::move(first.held_);
}

bool worker_pool::wait_for_job(std::unique_lock<std::mutex>& lock) {
  const time_point until = detail::plus(clock_.now(), most_.idle);
  while (!ending_ && !may_begin() && clock_.now() < until) {
    clock_.wait_until(arrived_, lock, until);
  }
  return may_begin();
}

void worker_pool::work() {
  const signal_mask idle = signal_mask::of_idle_worker();
  std::unique_lock lock(mutex_);
  while (wait_for_job(lock)) {
    std::shared_ptr<job> now = take_first();
    lock.unlock();
    now->mask_.install();
    now->run();
    idle.install();
    lock.lock();
    if (now->phase_ == job::phase::running) --wanted_;
    now->phase_ = job::phase::outside;
    ++idle_;
    lock.unlock();
    now.reset();
    lock.lock();
  }
  --threads_;
  --idle_;
  gone_.notify_all();
}

worker_pool& process_pool::get() {
  worker_pool* pool = pool_.load(std::memory_order_acquire);
  if (pool != nullptr) return *pool;
  [[maybe_unused]] static const int registered = ::pthread_atfork(nullptr, nullptr, &forget_all);
  if (!listed_.exchange(true)) {
    next_ = first_.load();
    while (!first_.compare_exchange_weak(next_, this)) {
    }
  }
  auto fresh = std::make_unique<worker_pool>(most_);
  if (!pool_.compare_exchange_strong(pool, fresh.get())) return *pool;  // another thread made it
  return *fresh.release();
}

void process_pool::forget_all() noexcept {
  for (process_pool* p = first_.load(); p != nullptr; p = p->next_) p->pool_.store(nullptr);
}

}  // namespace eddy::detail
