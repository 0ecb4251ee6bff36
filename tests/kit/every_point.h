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

/// The surroundings of one run of an `every_point` scenario: a loop, its clock, and checks.
///
/// The clock is manual: it jumps to the next deadline when the loop has nothing else to do.
class trial {
public:
  explicit trial(event_loop& loop, manual_clock& clock) noexcept : loop_(loop), clock_(clock) {}
  trial(const trial&) = delete;
  trial& operator=(const trial&) = delete;

  [[nodiscard]] event_loop& loop() const noexcept { return loop_; }
  [[nodiscard]] manual_clock& clock() const noexcept { return clock_; }

  /// An object that must be destroyed exactly once, before the work has completed or been
  /// cancelled.
  ///
  /// Make the part a local of a coroutine, or capture it in a handler. A part that is alive after
  /// the work is a failure.
  class part {
  public:
    explicit part(trial& of) noexcept : of_(of) { ++of_.parts_; }
    part(const part&) = delete;
    part& operator=(const part&) = delete;
    ~part() { --of_.parts_; }

  private:
    trial& of_;
  };

  /// Notes that a handler of the work runs. A call after the work has completed, or was cancelled,
  /// is a failure.
  void runs() noexcept { ran_late_ = ran_late_ || ended_; }

  /// An error that the scenario throws on purpose. Work that ends with it is no failure.
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

/// The result of `every_point`. It converts to true if there is no failure.
struct every_point_report {
  std::size_t points = 0;             // of the undisturbed run
  std::size_t allocations = 0;        // that the undisturbed run made
  std::size_t runs = 0;               // of the scenario
  std::vector<std::string> failures;  // a sentence each; testing stops after about 5

  /// The loops on which a run left something, such as a timer.
  /// Lifetime: destroy the things left on these loops before this report.
  std::vector<std::shared_ptr<void>> kept;

  [[nodiscard]] explicit operator bool() const noexcept { return failures.empty(); }
};

namespace detail {
class scenario;
every_point_report test_every_point(std::unique_ptr<scenario> (*make)(trial&), std::uint64_t seed);
template <class Scenario>
std::unique_ptr<scenario> make_scenario(trial& t);
}  // namespace detail

/// Ends the work of a scenario in every way at every point, and reports each run that leaves
/// something behind.
///
///     struct two_sleepers {
///       explicit two_sleepers(trial&) {}
///       task<> work() { co_await join(sleep(1s), sleep(2s)); }
///     };
///     const every_point_report found = every_point<two_sleepers>();
///
/// A point is each moment at which the loop is between two entries of its ready queue, or has
/// nothing to run. The first run is undisturbed. If that run has no failure, further runs, each
/// with a new loop and a new scenario, disturb the work at each point in turn:
///
/// - they destroy its future;
/// - a time limit on the work expires;
/// - a sibling of the work in a `join` fails;
/// - they stop the loop and then cancel the work.
///
/// For each allocation by eddy, one more run fails that allocation, and another run fails that
/// allocation and all later ones. If the program includes <eddy/testing/failing_new.h>, this
/// applies to every `new`, also those of strings and containers. After a failed allocation the work
/// may end with a value, with `std::bad_alloc`, with `not_enough_memory`, or with a
/// `trial::planned` error. A failed allocation in a server may close the connection of a client in
/// the same scenario: the client must handle that.
///
/// After each run, these must hold: the work and every `trial::part` have ended, the loop is empty,
/// and no coroutine and no descriptor of the run is left. If the scenario has a member
/// `std::string check(bool succeeded)`, that member returns a description of any other failure, or
/// an empty string. `check` is called when the work has ended, with true if the work gave a value,
/// and may run the loop. The scenario is destroyed before its loop.
///
/// The work may start a `process`. After the work, the loop runs until it has reaped the child; a
/// stopped loop kills and reaps the child when it is destroyed. The clock does not show how long a
/// child runs: a time limit, and `process_options::grace`, may expire at once.
///
/// `seed` 0 keeps the order in which descriptors become ready. Any other seed makes them ready in a
/// random order and spread over several turns; the same seed repeats the same order.
template <class Scenario>
  requires std::constructible_from<Scenario, trial&>
[[nodiscard]] every_point_report every_point(std::uint64_t seed = 0) {
  return detail::test_every_point(&detail::make_scenario<Scenario>, seed);
}

/// Tests a scenario that consists of one coroutine: `every_point<&two_sleeps>()`.
///
/// `Work` is a function `task<> (trial&)`. The task is ended in every way at every point, as in
/// `every_point<Scenario>()`, and each run that leaves something behind is reported.
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
  virtual std::string check(bool succeeded) = 0;
};

template <class Scenario>
std::unique_ptr<scenario> make_scenario(trial& t) {
  class made final : public scenario {
  public:
    explicit made(trial& of) : of_(of) {}
    task<> work() override { return of_.work(); }
    std::string check([[maybe_unused]] bool succeeded) override {
      if constexpr (requires { of_.check(succeeded); }) return of_.check(succeeded);
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
