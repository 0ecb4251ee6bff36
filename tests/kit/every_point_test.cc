// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/testing/every_point.h>.
#include <eddy/testing/every_point.h>

#include <cerrno>
#include <chrono>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <ev.h>
#include <sys/wait.h>
#include <unistd.h>

#include <eddy/future/adapt.h>
#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/promise.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/timeout.h>
#include <eddy/future/yield.h>
#include <eddy/loop/timer.h>
#include <eddy/net/process.h>
#include <eddy/net/run.h>

#include "support/at_end.h"
#include "support/every_point.h"
#include "support/tidy.h"

using namespace std::chrono_literals;
using eddy::every_point;
using eddy::every_point_report;
using eddy::task;
using eddy::trial;

namespace {

bool reports(const every_point_report& found, const std::string& words) {
  for (const auto& failure : found.failures) {
    if (failure.find(words) != std::string::npos) return true;
  }
  return false;
}

task<> two_sleeps(trial& t) {
  const trial::part one(t);
  co_await eddy::sleep(1s);
  const trial::part two(t);
  co_await eddy::sleep(1s);
}

TEST_CASE("every_point disturbs the work in every way at every point") {
  const auto found = every_point<&two_sleeps>();
  CHECK(found);
  CHECK(found.points == 5);
  CHECK(found.allocations == 4);  // one of them is the timer queue's
  CHECK(found.runs >= 1 + 4 * (found.points + 1) + 2 * (found.allocations + 1));
}

TEST_CASE("every_point finds the same points each time") {
  const auto once = every_point<&two_sleeps>();
  const auto again = every_point<&two_sleeps>();
  CHECK(once.points == again.points);
  CHECK(once.runs == again.runs);
}

// ---- The failures that every_point finds

task<> never_set(trial& t) {
  eddy::promise<> nobody(t.loop());
  co_await nobody.get_future();
}

TEST_CASE("every_point reports work that waits for ever, and what the work awaits") {
  const auto found = every_point<&never_set>();
  CHECK(reports(found, "undisturbed, seed 0: the work waits for something that never happens"));
  CHECK(reports(found, "never_set"));
}

std::vector<eddy::future<>> leaked;

task<> leaks(trial& t) {
  const trial::part lost(t);
  co_await eddy::sleep(1s);
}

task<> loses_a_task(trial& t) {
  leaked.push_back(eddy::spawn(leaks(t)));
  co_await eddy::yield();
  auto found = std::move(leaked.back());
  leaked.pop_back();
  co_await std::move(found);
}

namespace {

/// Two libev timers, one after the other: only the second completes the wait.
class two_libev_timers {
public:
  two_libev_timers(struct ev_loop* ev, eddy::completer<void> done) : ev_(ev), done_(done) {
    start([](struct ev_loop*, ev_timer* first, int) {
      static_cast<two_libev_timers*>(first->data)->start([](struct ev_loop*, ev_timer* w, int) {
        static_cast<two_libev_timers*>(w->data)->done_();
      });
    });
  }
  two_libev_timers(const two_libev_timers&) = delete;
  two_libev_timers& operator=(const two_libev_timers&) = delete;
  ~two_libev_timers() { ev_timer_stop(ev_, &timer_); }

private:
  void start(void (*on_time)(struct ev_loop*, ev_timer*, int)) {
    ev_timer_init(&timer_, on_time, 0.001, 0.);
    timer_.data = this;
    ev_timer_start(ev_, &timer_);
  }

  struct ev_loop* ev_;
  ev_timer timer_;
  eddy::completer<void> done_;
};

}  // namespace

SCENARIO_TEST("work that waits for two libev timers does not wait for ever") {
  const auto start = [&](eddy::completer<void> done) {
    return two_libev_timers(t.loop().native(), done);
  };
  co_await eddy::adapt(start);
}

TEST_CASE("every_point reports a coroutine that outlives the work, and its parts") {
  const auto found = every_point<&loses_a_task>();
  CHECK(reports(found, "cancelled at point 2, seed 0: 1 of its parts outlive the work"));
  CHECK(reports(found, "coroutines outlive the work"));
  leaked.clear();
}

task<> defers(trial& t) {
  t.loop().defer([&t] { t.runs(); });
  co_await eddy::sleep(1s);
}

TEST_CASE("every_point reports a handler that runs after the work has ended") {
  const auto found = every_point<&defers>();
  CHECK(reports(
      found, "cancelled at point 1, seed 0: a handler of the work ran after the work had ended"));
}

/// Takes a message from the queue and suspends before it delivers the message.
struct loses_a_message {
  explicit loses_a_message(trial&) {}
  task<> work() {
    const int taken = std::exchange(queued, 0);
    co_await eddy::sleep(1s);
    delivered = taken;
  }
  std::string check(bool) const { return queued + delivered == 1 ? "" : "the message is lost"; }

  int queued = 1;
  int delivered = 0;
};

TEST_CASE("every_point reports a failure that the scenario's own check finds") {
  const auto found = every_point<loses_a_message>();
  CHECK(!reports(found, "undisturbed"));
  CHECK(!reports(found, "cancelled at point 0"));
  CHECK(reports(found, "cancelled at point 1, seed 0: the message is lost"));
}

std::vector<int> left_open;

task<> opens(trial&) {
  left_open.push_back(::dup(0));
  co_await eddy::sleep(0s);
}

TEST_CASE("every_point reports a descriptor that the work left open") {
  const auto found = every_point<&opens>();
  CHECK(reports(found, "undisturbed, seed 0: 1 descriptors are left open"));
  for (const int descriptor : left_open) ::close(descriptor);
  left_open.clear();
}

task<> fails(trial&) {
  co_await eddy::sleep(0s);
  throw std::runtime_error("unforeseen");
}

TEST_CASE("every_point reports an error that is not planned") {
  CHECK(reports(every_point<&fails>(),
                "undisturbed, seed 0: the work ended with an error: unforeseen"));
}

task<> swallows(trial& t) {
  try {
    co_await two_sleeps(t);
  } catch (const std::bad_alloc&) {
    throw std::runtime_error("something else");
  }
}

TEST_CASE("every_point reports a failed allocation that becomes a std::runtime_error") {
  const auto found = every_point<&swallows>();
  CHECK(reports(found, "without memory for allocation 3"));
  CHECK(!reports(found, "undisturbed"));
}

task<> blames_the_disk(trial& t) {
  try {
    co_await two_sleeps(t);
  } catch (const std::bad_alloc&) {
    throw std::system_error(std::make_error_code(std::errc::io_error));
  }
}

TEST_CASE("every_point reports a failed allocation that becomes an I/O error") {
  const auto found = every_point<&blames_the_disk>();
  CHECK(reports(found, "without memory for allocation 3"));
  CHECK(!reports(found, "undisturbed"));
}

std::optional<eddy::timer> left_behind;

task<> leaves_a_timer_when_stopped(trial& t) {
  const at_end leave([&t] {
    if (t.loop().stopped()) left_behind.emplace(t.loop()).start(1h, [] {});
  });
  co_await eddy::sleep(1s);
}

TEST_CASE("every_point reports a timer that the work left on a stopped loop") {
  const auto found = every_point<&leaves_a_timer_when_stopped>();
  CHECK(reports(found, "with the loop stopped at point 1, seed 0: the work left this on the loop"));
  left_behind.reset();
}

task<> spins(trial&) {
  for (;;) co_await eddy::sleep(0s);
}

task<> runs_a_process(trial& t) {
  const trial::part held(t);
  eddy::process child(t.loop(), eddy::process_options("/bin/sh", {"-c", "exit 3"}));
  const eddy::exit_status end = co_await child.wait();
  CHECK(end.code == 3);
}

TEST_CASE("every_point ends a process at every point, and no child is left") {
  const auto found = every_point<&runs_a_process>();
  check_report(found);
  CHECK(found.runs > 4 * found.points);
  CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
  CHECK(errno == ECHILD);
}

task<> limits_a_process(trial& t) {
  const trial::part held(t);
  eddy::process child(t.loop(), eddy::process_options("sleep", {"600"}));
  auto limited = eddy::timeout(1h, child.wait());
  const auto end = co_await eddy::as_result(std::move(limited));
  CHECK(end.error() == std::errc::timed_out);
}

TEST_CASE("a limit on the wait for a process expires at once in a scenario") {
  check_report(every_point<&limits_a_process>());
}

task<> runs_a_program(trial& t) {
  const trial::part held(t);
  auto running = eddy::run(eddy::process_options("cat"), "input");
  const eddy::run_result r = co_await std::move(running);
  CHECK(r.output == "input");
}

TEST_CASE("every_point ends run at every point") { check_report(every_point<&runs_a_program>()); }

TEST_CASE("every_point reports work that does not end") {
  CHECK(reports(every_point<&spins>(), "undisturbed, seed 0: the work does not end"));
}

}  // namespace
