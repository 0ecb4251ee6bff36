// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/blocking_job.h>

#include <chrono>
#include <optional>
#include <utility>

#include <eddy/loop/detail/loop_access.h>
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

  /// Allocates the post of the completion, so that the worker needs no memory for it. The job owns
  /// itself until the post has run or was destroyed.
  void reserve() {
    done_post.emplace(loop.handle(), [s = shared_from_this()] {
      if (!s->keeps) return;
      s->keeps.reset();
      std::exchange(s->on_done, nullptr)();
    });
  }

  void run() noexcept override {
    work();
    work = nullptr;
    done_post->post();
  }

  event_loop& loop;
  detail::process_pool& process;
  detail::worker_pool& pool;
  handler<void()> work;  // used by the worker alone while the job runs
  handler<void()> on_done;
  std::optional<reserved_post> done_post;
  std::optional<work_guard> keeps;  // empty if the job has no waiter any more
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
  state_ = std::make_shared<state>(loop, detail::loop_access(loop).program_mask().without_faults(),
                                   pool, std::move(work), std::move(on_done));
  state_->reserve();
  try {
    state_->pool.put(state_);
  } catch (...) {
    state_->done_post.reset();
    throw;
  }
}

blocking_job::blocking_job(blocking_job&&) noexcept = default;

blocking_job::~blocking_job() {
  if (!state_ || !state_->keeps) return;
  state_->loop.check_thread();
  state_->keeps.reset();
  // A parent's pool is left alone: its lock may be held forever.
  const bool taken_back = state_->process.owns(state_->pool) && state_->pool.give_up(*state_);
  if (taken_back) {
    state_->work = nullptr;
    state_->done_post.reset();
  }
  state_->on_done = nullptr;
}

}  // namespace eddy
