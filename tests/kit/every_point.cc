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
#include <eddy/loop/detail/link.h>
#include <eddy/loop/detail/observer.h>
#include <eddy/loop/detail/recycler.h>
#include <eddy/loop/detail/text.h>

namespace eddy {

namespace {

enum class way : std::uint8_t { none, drop, limit, sibling, stop, one_allocation, allocations };

constexpr std::array all_ways{way::drop, way::limit,          way::sibling,
                              way::stop, way::one_allocation, way::allocations};

constexpr std::size_t never = std::numeric_limits<std::size_t>::max();
constexpr std::size_t enough_failures = 5;
constexpr std::size_t most_points = 100'000;  // of one run

bool allocates(way w) noexcept { return w == way::one_allocation || w == way::allocations; }

const char* in_words(way w) noexcept {
  switch (w) {
    case way::none: return "undisturbed";
    case way::drop: return "dropped at point ";
    case way::limit: return "with its time over at point ";
    case way::sibling: return "with a sibling that fails at point ";
    case way::stop: return "with the loop stopped at point ";
    case way::one_allocation: return "without the memory of allocation ";
    case way::allocations: return "without memory from allocation ";
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
    return "something that is no std::exception";
  }
}

}  // namespace

namespace detail {

namespace {

/// Awaits a wait that stays where it is.
class awaits_in_place {
public:
  explicit awaits_in_place(timeout_wait<void>& w) noexcept : wait_(w) {}
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
inline constexpr bool is_own_awaiter<awaits_in_place> = true;

}  // namespace detail

/// One run of a scenario.
class every_point_driver final : private detail::observer {
public:
  every_point_driver(event_loop& loop, manual_clock& clock, way w, std::size_t at,
                     std::uint64_t seed)
      : observer(loop),
        trial_(loop, clock),
        way_(w),
        at_(at),
        random_(seed * 8 + unsigned(w)),
        shuffles_(seed != 0) {
    loop.on_exception([this](const std::exception_ptr& e) { check_error(e); });
  }

  /// Runs it, and says whether the work was still there at the point.
  bool run(std::unique_ptr<detail::scenario> (*make)(trial&)) {
    scenario_ = make(trial_);
    alone_ = frame_count() == frames_;
    {
      std::optional<detail::failing_allocations> failing;
      failing.emplace(allocates(way_) ? at_ : never,
                      way_ == way::allocations ? detail::failing_allocations::times::for_good
                                               : detail::failing_allocations::times::once);
      try {
        future_ = begin();
        trial_.loop().run();
      } catch (...) {
        check_error(std::current_exception());
      }
      allocations = failing->count();
      if (allocates(way_)) reached_ = failing->failed();
    }
    const bool whole = look_at_end();
    drop();
    sibling_.reset();
    if (way_ != way::stop) trial_.loop().run();
    if (trial_.ran_late_) fail({"it ran after its end"});
    if (std::string wrong = scenario_->check(whole); !wrong.empty()) fail({wrong});
    scenario_.reset();
    if (way_ != way::stop) trial_.loop().run();
    const auto [ready, timers, waiting, tasks] = trial_.loop().count();
    left = (ready != 0 && way_ != way::stop) || timers != 0 || waiting != 0 || tasks != 0;
    if (left) fail({"this is left on the loop:\n", trial_.loop().dump()});
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
    switch (way_) {
      case way::limit: return spawn(trial_.loop(), limited());
      case way::sibling: sibling_.emplace(trial_.loop()); return spawn(trial_.loop(), beside());
      default: return spawn(trial_.loop(), watched());
    }
  }

  task<> watched() {
    struct at_end {
      every_point_driver& of;
      explicit at_end(every_point_driver& d) noexcept : of(d) {}
      at_end(const at_end&) = delete;
      at_end& operator=(const at_end&) = delete;
      ~at_end() { of.end(); }
    };
    const at_end told(*this);
    auto work = scenario_->work();
    co_await std::move(work);
    if (sibling_ && way_ == way::sibling && !reached_) sibling_->set_value();
  }

  task<> limited() {
    detail::timeout_wait<void> wait(detail::time_limit(duration(std::chrono::hours(24))),
                                    watched());
    limit_ = &wait.timer();
    co_await detail::awaits_in_place(wait);
    limit_ = nullptr;
  }

  task<> beside() {
    auto both = join(watched(), sibling_->get_future());
    co_await std::move(both);
  }

  void drop() {
    future_ = {};
    end();
    if (alone_ && frame_count() > frames_) {
      fail({frame_count() - frames_, " coroutines outlive the work"});
    }
  }

  /// The work has ended.
  void end() {
    if (std::exchange(trial_.ended_, true)) return;
    limit_ = nullptr;
    if (trial_.parts_ > 0) fail({trial_.parts_, " of its parts outlive it"});
    if (trial_.parts_ < 0) fail({"a part of it ended twice"});
  }

  void at_point() override {
    if (++seen_ == most_points) {
      fail({"it comes to no end"});
      trial_.loop().stop();
    }
    // The limit that was set is only to be there: nothing may wait for it.
    if (limit_ != nullptr && !reached_) limit_->clear();
    if (trial_.ended_ || points++ != at_) return;
    reached_ = !allocates(way_);
    switch (way_) {
      case way::drop: drop(); break;
      case way::limit:
        if (limit_ != nullptr) limit_->set(trial_.clock().now());
        break;
      case way::sibling: sibling_->set_error(std::make_exception_ptr(trial::planned())); break;
      case way::stop: trial_.loop().stop(); break;
      default: break;
    }
  }

  void choose(detail::link& arrived, detail::link& ready) noexcept override {
    if (!shuffles_) return ready.splice_back(arrived);
    detail::link order;
    while (arrived.linked()) {
      detail::link& next = *arrived.next;
      next.unlink();
      if ((random_() & 1) != 0) {
        order.push_back(next);
      } else {
        order.push_front(next);
      }
    }
    do {
      detail::link& next = *order.next;
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
      if (!allocates(way_)) fail({"it ended with std::bad_alloc, though there was memory"});
    } catch (const std::system_error& e) {
      if (way_ == way::limit && reached_ && e.code() == std::errc::timed_out) return;
      if (allocates(way_) && e.code() == std::errc::not_enough_memory) return;
      fail({"it ended with an error: ", e.what()});
    } catch (...) {
      fail({"it ended with an error: ", words_of(error)});
    }
  }

  /// Looks at how the work has ended, and says whether that was with a value.
  bool look_at_end() {
    if (!future_) return false;
    if (!future_.ready()) {
      if (way_ != way::stop || !reached_) {
        fail({"it waits for what does not come:\n", trial_.loop().dump()});
      }
      return false;
    }
    const auto end = std::move(future_).take();
    if (!end) check_error(end.error());
    return end.has_value();
  }

  trial trial_;
  const way way_;
  const std::size_t at_;
  std::minstd_rand random_;
  const bool shuffles_;
  std::size_t seen_ = 0;
  bool reached_ = false;
  const std::size_t frames_ = frame_count();
  bool alone_ = false;  // the work has the only coroutines
  std::unique_ptr<detail::scenario> scenario_;
  std::optional<promise<>> sibling_;
  timer_node* limit_ = nullptr;
  future<> future_;
};

namespace detail {

namespace {

struct run_place {
  manual_clock clock{manual_clock::idle::jump};
  event_loop loop{clock};
};

/// What a run takes with it at its end, but for what worker threads still hold.
bool descriptors_are(std::size_t before) {
  for (int i = 0; i < 1000; ++i) {
    if (open_descriptors() == before) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

/// One run; true if the point was reached.
bool run_once(every_point_report& report, std::unique_ptr<scenario> (*make)(trial&), way w,
              std::size_t at, std::uint64_t seed) {
  const std::size_t frames = frame_count();
  const std::size_t descriptors = open_descriptors();
  std::vector<std::string> failures;
  bool reached = false;
  bool left = false;
  {
    auto place = std::make_shared<run_place>();
    {
      every_point_driver driver(place->loop, place->clock, w, at, seed);
      reached = driver.run(make);
      failures = std::move(driver.failures);
      left = driver.left;
      if (w == way::none) {
        report.points = driver.points;
        report.allocations = driver.allocations;
      }
    }
    if (left) report.kept.push_back(std::move(place));
  }
  if (frame_count() != frames) {
    failures.push_back(text({frame_count() - frames, " coroutines are left"}));
  }
  if (!left && !descriptors_are(descriptors)) {
    failures.push_back(text({open_descriptors() - descriptors, " descriptors are left open"}));
  }
  ++report.runs;
  for (const auto& failure : failures) {
    std::string sentence = in_words(w);
    if (w != way::none) add_text(sentence, {at});
    add_text(sentence, {", seed ", seed, ": ", failure});
    report.failures.push_back(std::move(sentence));
  }
  return reached;
}

}  // namespace

every_point_report prove(std::unique_ptr<scenario> (*make)(trial&), std::uint64_t seed) {
  every_point_report report;
  run_once(report, make, way::none, never, seed);
  if (!report) return report;
  for (const way w : all_ways) {
    for (std::size_t at = 0; report.failures.size() < enough_failures; ++at) {
      if (!run_once(report, make, w, at, seed)) break;
    }
  }
  return report;
}

}  // namespace detail

}  // namespace eddy
