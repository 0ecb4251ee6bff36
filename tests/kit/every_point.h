// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <eddy/future/task.h>
#include <eddy/loop/clock.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

/// What a scenario of `every_point` is given for one run: a loop, whose clock
/// jumps to the next deadline, and ways to say what must hold.
class trial {
public:
  explicit trial(event_loop& loop, manual_clock& clock) noexcept : loop_(loop), clock_(clock) {}
  trial(const trial&) = delete;
  trial& operator=(const trial&) = delete;

  [[nodiscard]] event_loop& loop() const noexcept { return loop_; }
  [[nodiscard]] manual_clock& clock() const noexcept { return clock_; }

  /// Something that ends with the work, exactly once: a local of a coroutine, or
  /// what a handler captures. One that is alive when the work has ended is a
  /// failure.
  class part {
  public:
    explicit part(trial& of) noexcept : of_(of) { ++of_.parts_; }
    part(const part&) = delete;
    part& operator=(const part&) = delete;
    ~part() { --of_.parts_; }

  private:
    trial& of_;
  };

  /// Says that the work runs, in a handler: that is a failure when it has ended.
  void runs() noexcept { ran_late_ = ran_late_ || ended_; }

  /// An error that the scenario throws on purpose; the work may end with it.
  struct planned : std::runtime_error {
    planned() : std::runtime_error("a planned error") {}
  };

private:
  friend class every_point_driver;

  event_loop& loop_;
  manual_clock& clock_;
  long parts_ = 0;
  bool ended_ = false;
  bool ran_late_ = false;
};

/// What `every_point` has found.
struct every_point_report {
  std::size_t points = 0;             // at which the work may be ended
  std::size_t allocations = 0;        // that the work makes
  std::size_t runs = 0;               // of the scenario
  std::vector<std::string> failures;  // a sentence each; it stops after a few

  /// The loops of runs after which something was left; what that is goes before
  /// this does.
  std::vector<std::shared_ptr<void>> kept;

  [[nodiscard]] explicit operator bool() const noexcept { return failures.empty(); }
};

namespace detail {
class scenario;
every_point_report prove(std::unique_ptr<scenario> (*make)(trial&), std::uint64_t seed);
template <class Scenario>
std::unique_ptr<scenario> make_scenario(trial& t);
}  // namespace detail

/// Ends a scenario's work in every way at each of its points, and tells where
/// that leaves anything behind.
///
///     struct two_sleepers {
///       explicit two_sleepers(trial&) {}
///       task<> work() { co_await join(sleep(1s), sleep(2s)); }
///     };
///     const every_point_report found = every_point<two_sleepers>();
///
/// A point is where the loop is between two entries of its ready queue, or has
/// nothing to run. The work runs once to its end; if that is as it should be,
/// then again for each point, on a loop and with a scenario that are new:
///
/// - its future is dropped there;
/// - a time limit on it is over there;
/// - a sibling of it in a `join` fails there;
/// - the loop is stopped there, and what is on it dropped;
///
/// and for each of eddy's own allocations, that one fails, or that one and all
/// later ones. With <eddy/testing/failing_new.h> in the program, each `new` is such
/// an allocation, of strings and containers too. After a failed allocation the work may
/// end with a value, with `std::bad_alloc`, or with a `planned` error. If memory is short in
/// a server, the client in the same scenario may see a closed connection: the scenario has
/// to handle that error.
///
/// After each run the work must have ended, and by then each `trial::part`; the
/// loop must be empty; no coroutine and no descriptor may be left. Where the
/// scenario has a `std::string check(bool whole)`, that tells what else is wrong,
/// or nothing; it is called when the work has ended, `whole` if that was with a
/// value, and may run the loop. The scenario is destroyed before its loop.
///
/// With a `seed`, the descriptors that are ready come in any order, and in
/// several turns; the same seed gives the same again.
template <class Scenario>
  requires std::constructible_from<Scenario, trial&>
[[nodiscard]] every_point_report every_point(std::uint64_t seed = 0) {
  return detail::prove(&detail::make_scenario<Scenario>, seed);
}

/// The same for a scenario that is but a coroutine.
template <task<> (*Work)(trial&)>
[[nodiscard]] every_point_report every_point(std::uint64_t seed = 0);

// implementation

namespace detail {

class scenario {
public:
  scenario() = default;
  scenario(const scenario&) = delete;
  scenario& operator=(const scenario&) = delete;
  virtual ~scenario() = default;

  virtual task<> work() = 0;
  virtual std::string check(bool whole) = 0;
};

template <class Scenario>
std::unique_ptr<scenario> make_scenario(trial& t) {
  class made final : public scenario {
  public:
    explicit made(trial& of) : of_(of) {}
    task<> work() override { return of_.work(); }
    std::string check([[maybe_unused]] bool whole) override {
      if constexpr (requires { of_.check(whole); }) return of_.check(whole);
      return {};
    }

  private:
    Scenario of_;
  };
  return std::make_unique<made>(t);
}

template <task<> (*Work)(trial&)>
class bare_scenario {
public:
  explicit bare_scenario(trial& t) noexcept : trial_(t) {}
  task<> work() { return Work(trial_); }

private:
  trial& trial_;
};

}  // namespace detail

template <task<> (*Work)(trial&)>
every_point_report every_point(std::uint64_t seed) {
  return every_point<detail::bare_scenario<Work>>(seed);
}

}  // namespace eddy
