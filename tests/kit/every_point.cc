// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/testing/every_point.h>

#include <array>
#include <chrono>
#include <exception>
#include <filesystem>
#include <iterator>
#include <limits>
#include <new>
#include <optional>
#include <random>
#include <system_error>
#include <thread>

#include <eddy/future/future.h>
#include <eddy/future/join.h>
#include <eddy/future/promise.h>
#include <eddy/future/spawn.h>
#include <eddy/future/timeout.h>
#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/detail/list_node.h>
#include <eddy/loop/detail/loop_access.h>
#include <eddy/loop/detail/loop_probe.h>
#include <eddy/loop/detail/text.h>

namespace eddy {

namespace {

enum class disturbance : std::uint8_t {
  none,
  cancel,
  limit,
  sibling,
  stop,
  one_allocation,
  allocations,
};

constexpr std::array all_disturbances{
    disturbance::cancel, disturbance::limit,          disturbance::sibling,
    disturbance::stop,   disturbance::one_allocation, disturbance::allocations,
};

constexpr std::size_t never = std::numeric_limits<std::size_t>::max();
constexpr std::size_t enough_failures = 5;
constexpr std::size_t most_points = 100'000;  // of one run

bool fails_allocations(disturbance by) noexcept {
  return by == disturbance::one_allocation || by == disturbance::allocations;
}

const char* in_words(disturbance by) noexcept {
  switch (by) {
    case disturbance::none: return "undisturbed";
    case disturbance::cancel: return "cancelled at point ";
    case disturbance::limit: return "with its time limit expired at point ";
    case disturbance::sibling: return "with a sibling that fails at point ";
    case disturbance::stop: return "with the loop stopped at point ";
    case disturbance::one_allocation: return "without memory for allocation ";
    case disturbance::allocations: return "without memory from allocation ";
  }
  return "";
}

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

std::string words_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "an exception that is no std::exception";
  }
}

}  // namespace

namespace detail {

namespace {

/// Awaits a `timeout_wait` by reference, so that the driver can reach its timer.
class awaiter_by_reference {
public:
  explicit awaiter_by_reference(timeout_wait<void>& w) noexcept : wait_(w) {}
  [[nodiscard]] bool await_ready() const noexcept { return wait_.await_ready(); }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> by) {
    return wait_.await_suspend(by);
  }
  void await_resume() { wait_.await_resume(); }

private:
  timeout_wait<void>& wait_;
};

}  // namespace

template <>
inline constexpr bool is_own_awaiter<awaiter_by_reference> = true;

}  // namespace detail

/// One run of a scenario.
class every_point_driver final : private detail::loop_probe {
public:
  every_point_driver(event_loop& loop, manual_clock& clock, disturbance by, std::size_t at,
                     std::uint64_t seed)
      : loop_probe(loop),
        trial_(loop, clock),
        by_(by),
        at_(at),
        random_(seed * 8 + unsigned(by)),
        shuffles_(seed != 0) {
    loop.on_exception([this](const std::exception_ptr& e) { check_error(e); });
  }

  /// Runs the scenario. True if the run came to the point, or to the allocation, of the
  /// disturbance.
  bool run(std::unique_ptr<detail::scenario> (*make)(trial&)) {
    scenario_ = make(trial_);
    alone_ = frame_count() == frames_;
    {
      std::optional<detail::failing_allocations> failing;
      failing.emplace(fails_allocations(by_) ? at_ : never,
                      by_ == disturbance::allocations ? detail::failing_allocations::times::for_good
                                                      : detail::failing_allocations::times::once);
      try {
        future_ = begin();
        trial_.loop().run();
      } catch (...) {
        check_error(std::current_exception());
      }
      allocations = failing->count();
      if (fails_allocations(by_)) reached_ = failing->failed();
    }
    const bool succeeded = check_end();
    cancel();
    sibling_.reset();
    if (by_ != disturbance::stop) trial_.loop().run();
    if (trial_.ran_late_) fail({"a handler of the work ran after the work had ended"});
    if (std::string wrong = scenario_->check(succeeded); !wrong.empty()) fail({wrong});
    scenario_.reset();
    // A stopped loop does not run again. An object that only the loop owns, such as a child that is
    // being ended, goes with the loop and is no failure.
    if (by_ == disturbance::stop) {
      detail::loop_access(trial_.loop()).abandon_all();
    } else {
      trial_.loop().run();
    }
    const auto [ready, timers, waiting, tasks] = trial_.loop().count();
    left = (ready != 0 && by_ != disturbance::stop) || timers != 0 || waiting != 0 || tasks != 0;
    if (left) fail({"the work left this on the loop:\n", trial_.loop().dump()});
    trial_.loop().on_exception(nullptr);
    return reached_;
  }

  std::size_t points = 0;
  std::size_t allocations = 0;
  bool left = false;
  std::vector<std::string> failures;

private:
  void fail(std::initializer_list<detail::piece> words) {
    const detail::failing_allocations::pardon own;
    failures.push_back(detail::text(words));
  }

  future<> begin() {
    switch (by_) {
      case disturbance::limit: return spawn(trial_.loop(), limited());
      case disturbance::sibling:
        sibling_.emplace(trial_.loop());
        return spawn(trial_.loop(), beside());
      default: return spawn(trial_.loop(), watched());
    }
  }

  task<> watched() {
    struct at_end {
      every_point_driver& of;
      explicit at_end(every_point_driver& d) noexcept : of(d) {}
      at_end(const at_end&) = delete;
      at_end& operator=(const at_end&) = delete;
      ~at_end() { of.note_end(); }
    };
    const at_end note(*this);
    auto work = scenario_->work();
    co_await std::move(work);
    if (sibling_ && by_ == disturbance::sibling && !reached_) sibling_->set_value();
  }

  task<> limited() {
    detail::timeout_wait<void> wait(detail::time_limit(duration(std::chrono::hours(24))),
                                    watched());
    limit_ = &wait.timer();
    co_await detail::awaiter_by_reference(wait);
    limit_ = nullptr;
  }

  task<> beside() {
    auto both = join(watched(), sibling_->get_future());
    co_await std::move(both);
  }

  void cancel() {
    future_ = {};
    note_end();
    if (alone_ && frame_count() > frames_) {
      fail({frame_count() - frames_, " coroutines outlive the work"});
    }
  }

  void note_end() {
    if (std::exchange(trial_.ended_, true)) return;
    limit_ = nullptr;
    if (trial_.parts_ > 0) fail({trial_.parts_, " of its parts outlive the work"});
    if (trial_.parts_ < 0) fail({"a part of the work was destroyed twice"});
  }

  void at_point() override {
    if (++seen_ == most_points) {
      fail({"the work does not end"});
      trial_.loop().stop();
    }
    // The limit expires only at the point: until then no timer may be set for it.
    if (limit_ != nullptr && !reached_) limit_->clear();
    if (trial_.ended_ || points++ != at_) return;
    reached_ = !fails_allocations(by_);
    switch (by_) {
      case disturbance::cancel: cancel(); break;
      case disturbance::limit:
        if (limit_ != nullptr) limit_->set(trial_.clock().now());
        break;
      case disturbance::sibling:
        sibling_->set_error(std::make_exception_ptr(trial::planned()));
        break;
      case disturbance::stop: trial_.loop().stop(); break;
      default: break;
    }
  }

  void choose(detail::list_node& arrived, detail::list_node& ready) noexcept override {
    if (!shuffles_) return ready.splice_back(arrived);
    detail::list_node order;
    while (arrived.linked()) {
      detail::list_node& next = *arrived.next;
      next.unlink();
      if ((random_() & 1) != 0) {
        order.push_back(next);
      } else {
        order.push_front(next);
      }
    }
    do {
      detail::list_node& next = *order.next;
      next.unlink();
      ready.push_back(next);
    } while (order.linked() && random_() % 4 != 0);
    arrived.splice_back(order);
  }

  void waited_in_vain() noexcept override { trial_.loop().stop(); }

  void check_error(const std::exception_ptr& error) {
    try {
      std::rethrow_exception(error);
    } catch (const trial::planned&) {
      return;
    } catch (const std::bad_alloc&) {
      if (!fails_allocations(by_))
        fail({"the work ended with std::bad_alloc, though no allocation failed"});
    } catch (const std::system_error& e) {
      if (by_ == disturbance::limit && reached_ && e.code() == std::errc::timed_out) return;
      if (fails_allocations(by_) && e.code() == std::errc::not_enough_memory) return;
      fail({"the work ended with an error: ", e.what()});
    } catch (...) {
      fail({"the work ended with an error: ", words_of(error)});
    }
  }

  /// Checks how the work ended. True if it gave a value.
  bool check_end() {
    if (!future_) return false;
    if (!future_.ready()) {
      if (by_ != disturbance::stop || !reached_) {
        fail({"the work waits for something that never happens:\n", trial_.loop().dump()});
      }
      return false;
    }
    const auto end = std::move(future_).take();
    if (!end) check_error(end.error());
    return end.has_value();
  }

  trial trial_;
  const disturbance by_;
  const std::size_t at_;
  std::minstd_rand random_;
  const bool shuffles_;
  std::size_t seen_ = 0;
  bool reached_ = false;
  const std::size_t frames_ = frame_count();
  bool alone_ = false;  // no coroutine but those of the work exists
  std::unique_ptr<detail::scenario> scenario_;
  std::optional<promise<>> sibling_;
  timer_node* limit_ = nullptr;
  future<> future_;
};

namespace detail {

namespace {

struct clocked_loop {
  manual_clock clock{manual_clock::idle::jump};
  event_loop loop{clock};
};

/// Whether as many descriptors are open as before the run.
///
/// A worker thread may still hold the wake-up descriptor of the run's loop, so this waits up to a
/// second. Waiting for the worker itself would not do: a worker pool counts a thread as idle before
/// the thread destroys its job, and the job of a cancelled operation may run for any time.
bool descriptors_are(std::size_t before) {
  for (int i = 0; i < 1000; ++i) {
    if (open_descriptors() == before) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

/// Makes one run. True if the run came to the point, or to the allocation, of the disturbance.
bool run_once(every_point_report& report, std::unique_ptr<scenario> (*make)(trial&), disturbance by,
              std::size_t at, std::uint64_t seed) {
  const std::size_t frames = frame_count();
  const std::size_t descriptors = open_descriptors();
  std::vector<std::string> failures;
  bool reached = false;
  bool left = false;
  {
    auto on = std::make_shared<clocked_loop>();
    {
      every_point_driver driver(on->loop, on->clock, by, at, seed);
      reached = driver.run(make);
      failures = std::move(driver.failures);
      left = driver.left;
      if (by == disturbance::none) {
        report.points = driver.points;
        report.allocations = driver.allocations;
      }
    }
    if (left) report.kept.push_back(std::move(on));
  }
  if (frame_count() != frames) {
    failures.push_back(text({frame_count() - frames, " coroutines are left"}));
  }
  if (!left && !descriptors_are(descriptors)) {
    failures.push_back(text({open_descriptors() - descriptors, " descriptors are left open"}));
  }
  ++report.runs;
  for (const auto& failure : failures) {
    std::string sentence = in_words(by);
    if (by != disturbance::none) add_text(sentence, {at});
    add_text(sentence, {", seed ", seed, ": ", failure});
    report.failures.push_back(std::move(sentence));
  }
  return reached;
}

}  // namespace

every_point_report test_every_point(std::unique_ptr<scenario> (*make)(trial&), std::uint64_t seed) {
  every_point_report report;
  run_once(report, make, disturbance::none, never, seed);
  if (!report) return report;
  for (const disturbance by : all_disturbances) {
    for (std::size_t at = 0; report.failures.size() < enough_failures; ++at) {
      if (!run_once(report, make, by, at, seed)) break;
    }
  }
  return report;
}

}  // namespace detail

}  // namespace eddy
