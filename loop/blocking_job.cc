// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/blocking_job.h>

#include <chrono>
#include <optional>
#include <utility>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/worker_pool.h>

namespace eddy {

struct blocking_job::state final : detail::worker_pool::job, std::enable_shared_from_this<state> {
  state(event_loop& l, detail::signal_mask mask, detail::process_pool& p, handler<void()>&& w,
        handler<void()>&& d)
      : job(mask),
        loop(l),
        process(p),
        pool(p.get()),
        work(std::move(w)),
        on_done(std::move(d)),
        keeps(l) {}

  /// Allocates the way back, so that a worker needs no memory for it. Until it is
  /// used or taken back, the job holds itself.
  void reserve() {
    way_back.emplace(loop.remote(), [s = shared_from_this()] {
      if (!s->keeps) return;
      s->keeps.reset();
      std::exchange(s->on_done, nullptr)();
    });
  }

  void run() noexcept override {
    work();
    work = nullptr;
    way_back->post();
  }

  event_loop& loop;
  detail::process_pool& process;
  detail::worker_pool& pool;
  handler<void()> work;  // the worker's, from the start to the end
  handler<void()> on_done;
  std::optional<reserved_post> way_back;
  std::optional<keep_alive> keeps;  // empty: nobody waits any more
};

namespace {

constinit detail::process_pool jobs({.at_once = 16,
                                     .threads = 16,
                                     .idle = std::chrono::seconds(10)});

}  // namespace

blocking_job::blocking_job(event_loop& loop, handler<void()> work, handler<void()> on_done)
    : blocking_job(loop, jobs, std::move(work), std::move(on_done)) {}

blocking_job::blocking_job(event_loop& loop, detail::process_pool& pool, handler<void()> work,
                           handler<void()> on_done) {
  detail::expect_handler(work, "blocking_job");
  detail::expect_handler(on_done, "blocking_job");
  loop.check_thread();
  state_ = std::make_shared<state>(loop, loop.program_mask_.without_faults(), pool, std::move(work),
                                   std::move(on_done));
  state_->reserve();
  try {
    state_->pool.put(state_);
  } catch (...) {
    state_->way_back.reset();
    throw;
  }
}

blocking_job::blocking_job(blocking_job&&) noexcept = default;

blocking_job::~blocking_job() {
  if (!state_ || !state_->keeps) return;
  state_->loop.check_thread();
  state_->keeps.reset();
  // A parent's pool is left alone: its lock may be held for ever.
  const bool taken_back = state_->process.owns(state_->pool) && state_->pool.give_up(*state_);
  if (taken_back) {
    state_->work = nullptr;
    state_->way_back.reset();
  }
  state_->on_done = nullptr;
}

}  // namespace eddy
