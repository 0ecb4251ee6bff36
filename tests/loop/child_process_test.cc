// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/loop/child_process.h>.
#include <eddy/loop/child_process.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/readiness.h>
#include <eddy/loop/timer.h>

#include "support/any_loop.h"
#include "support/epoll_refusal.h"
#include "support/forked.h"
#include "support/journal.h"
#include "support/temporary_directory.h"
#include "support/tidy.h"
#include "support/traced.h"

using namespace std::chrono_literals;

static_assert(std::is_nothrow_move_constructible_v<eddy::child_process>);
static_assert(std::is_nothrow_move_assignable_v<eddy::child_process>);
static_assert(!std::is_copy_constructible_v<eddy::child_process>);

namespace {

using status = eddy::result<eddy::exit_status>;

/// A process that ends when the test says so.
class obedient {
public:
  explicit obedient(int code = 0) {
    REQUIRE(::pipe(ends_) == 0);
    pid_ = start_forked([&] {
      ::close(ends_[1]);
      char byte = 0;
      static_cast<void>(!::read(ends_[0], &byte, 1));
      ::_exit(code);
      return false;
    });
    ::close(ends_[0]);
  }
  obedient(const obedient&) = delete;
  obedient& operator=(const obedient&) = delete;
  ~obedient() { end(); }

  [[nodiscard]] ::pid_t pid() const noexcept { return pid_; }
  void end() {
    if (const int old = std::exchange(ends_[1], -1); old >= 0) ::close(old);
  }

private:
  int ends_[2];
  ::pid_t pid_;
};

/// Waits until the process is a zombie or gone, and returns whether it is.
bool has_ended(::pid_t pid) {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<::id_t>(pid), &info, WEXITED | WNOWAIT) == 0;
}

bool was_reaped(::pid_t pid) { return ::waitpid(pid, nullptr, WNOHANG) == -1 && errno == ECHILD; }

std::error_code refusal(eddy::event_loop& loop, ::pid_t pid) {
  try {
    const eddy::child_process watched(loop, pid);
  } catch (const std::system_error& e) {
    return e.code();
  }
  return {};
}

struct usage {
  std::chrono::microseconds user, system;
  long voluntary_switches;
};
/// Returns the resources that this process has used so far.
usage used() {
  struct rusage r{};
  ::getrusage(RUSAGE_SELF, &r);
  const auto time = [](const struct timeval& t) {
    return std::chrono::seconds(t.tv_sec) + std::chrono::microseconds(t.tv_usec);
  };
  return {time(r.ru_utime), time(r.ru_stime), r.ru_nvcsw};
}

/// Returns how a child process ends, as the handler gets it.
std::optional<status> end_on(eddy::event_loop& loop, ::pid_t pid) {
  std::optional<status> got;
  eddy::child_process child(loop, pid);
  child.start([&](status s) { got = s; });
  loop.run();
  return got;
}

}  // namespace

TEST_CASE_TEMPLATE("the handler gets the child's exit code, and the child is reaped", Loop,
                   ANY_LOOP) {
  Loop on;
  obedient process(7);
  std::optional<status> got;
  eddy::child_process child(on.loop, process.pid());
  child.start([&](status s) { got = s; });
  CHECK(child.pid() == process.pid());

  SUBCASE("when the child ends later") {
    CHECK_FALSE(on.loop.run_ready());
    eddy::timer timer(on.loop);
    timer.start(1ms, [&] { process.end(); });
    on.run();
  }
  SUBCASE("when the child has ended already") {
    process.end();
    REQUIRE(has_ended(process.pid()));
    CHECK_FALSE(got);
    on.run();
  }
  REQUIRE(got);
  REQUIRE(*got);
  CHECK((*got)->code == 7);
  CHECK_FALSE((*got)->signal);
  CHECK_FALSE((*got)->success());
  CHECK_FALSE(child.active());
  CHECK(was_reaped(process.pid()));
}

TEST_CASE_FIXTURE(with_loop, "the handler gets the signal that ended the child") {
  const obedient process;
  std::optional<status> got;
  eddy::child_process child(loop, process.pid());
  child.start([&](status s) { got = s; });
  ::kill(process.pid(), SIGTERM);
  loop.run();
  REQUIRE(got);
  CHECK((*got)->signal == SIGTERM);
  CHECK_FALSE((*got)->code);
  CHECK_FALSE((*got)->core_dumped);
}

TEST_CASE_FIXTURE(with_loop, "the handler gets the resources that a child has used") {
  const ::pid_t pid = start_forked([] {
    while (used().user + used().system < 20ms) {
    }
    return true;
  });
  const std::optional<status> got = end_on(loop, pid);
  REQUIRE(got);
  CHECK((*got)->success());
  CHECK((*got)->user_time + (*got)->system_time >= 20ms);
  CHECK((*got)->max_resident > 100'000);
}

TEST_CASE_FIXTURE(with_loop, "children that are not watched are not reaped") {
  obedient ours(1);
  obedient not_ours(2);
  eddy::child_process child(loop, ours.pid());
  child.start([](status s) { CHECK(s->code == 1); });
  ours.end();
  not_ours.end();
  REQUIRE(has_ended(not_ours.pid()));
  loop.run();
  CHECK(end_of(not_ours.pid()) == 2);
}

TEST_CASE_FIXTURE(with_loop, "a child whose watch is stopped is not reaped") {
  obedient process(3);
  bool called = false;
  auto child = std::make_unique<eddy::child_process>(loop, process.pid());
  child->start([&](status) { called = true; });

  SUBCASE("before it has ended") {
    child->stop();
    CHECK_FALSE(child->active());
  }
  SUBCASE("when the handler is queued") {
    process.end();
    REQUIRE(has_ended(process.pid()));
    eddy::timer before(loop);
    before.start(0s, [&] { child->stop(); });
    loop.run();
  }
  SUBCASE("by the destructor") { child.reset(); }
  process.end();
  loop.run();
  CHECK_FALSE(called);
  CHECK(end_of(process.pid()) == 3);
}

TEST_CASE_FIXTURE(with_loop, "a child can be watched again after a stop") {
  obedient process(4);
  std::optional<status> got;
  eddy::child_process child(loop, process.pid());
  child.start([](status) { FAIL("was stopped"); });
  child.stop();
  child.start([](status) { FAIL("was changed"); });
  child.start([&](status s) { got = s; });
  process.end();
  loop.run();
  REQUIRE(got);
  CHECK((*got)->code == 4);
}

TEST_CASE_FIXTURE(with_loop, "a child_process's handler may destroy it, move it, or throw") {
  obedient process;
  auto child = std::make_unique<eddy::child_process>(loop, process.pid());
  process.end();
  SUBCASE("destroy") {
    child->start([&](status) { child.reset(); });
    loop.run();
    CHECK_FALSE(child);
  }
  SUBCASE("move") {
    child->start([&](status) { child = std::make_unique<eddy::child_process>(std::move(*child)); });
    loop.run();
    CHECK_FALSE(child->active());
  }
  SUBCASE("throw") {
    child->start([&](status) { throw std::runtime_error("no"); });
    CHECK_THROWS_AS(loop.run(), std::runtime_error);
    CHECK(was_reaped(process.pid()));
  }
}

TEST_CASE_FIXTURE(with_loop, "a moved child_process calls its handler") {
  obedient process;
  bool told = false;
  eddy::child_process first(loop, process.pid());
  first.start([&](status) { told = true; });
  eddy::child_process second(std::move(first));
  process.end();
  loop.run();
  CHECK(told);
}

TEST_CASE_FIXTURE(with_loop, "a process that is not a child is refused") {
  CHECK(refusal(loop, 1) == std::errc::no_child_process);
  CHECK(refusal(loop, ::getpid()) == std::errc::no_child_process);
  CHECK(refusal(loop, 0) == std::errc::invalid_argument);
  CHECK(refusal(loop, -1) == std::errc::invalid_argument);

  const ::pid_t gone = start_forked([] { return true; });
  CHECK(end_of(gone) == 0);
  CHECK(refusal(loop, gone) == std::errc::no_such_process);
}

TEST_CASE_FIXTURE(with_loop, "the handler of a traced child runs when its tracer detaches") {
  traced_child process;
  std::optional<status> got;
  eddy::child_process child(loop, process.pid());
  child.start([&](status s) { got = s; });
  process.end();
  for (int i = 0; i < 5; ++i) loop.run_ready();
  CHECK_FALSE((process.traced() && got));
  process.let_go();
  loop.run();
  REQUIRE(got);
  REQUIRE(*got);
  CHECK((*got)->code == 9);
}

TEST_CASE_FIXTURE(with_loop, "the handler gets an error for a child that other code has reaped") {
  obedient process;
  std::optional<status> got;
  eddy::child_process child(loop, process.pid());
  child.start([&](status s) { got = s; });
  process.end();
  SUBCASE("by waitpid") { CHECK(end_of(process.pid()) == 0); }
  SUBCASE("by the kernel, because SIGCHLD is ignored") {
    // SIGCHLD is ignored when this process ends.
    obedient later;
    CHECK(end_of(process.pid()) == 0);
    eddy::child_process other(loop, later.pid());
    std::optional<status> second;
    other.start([&](status s) { second = s; });
    const auto before = std::signal(SIGCHLD, SIG_IGN);
    later.end();
    loop.run();
    std::signal(SIGCHLD, before);
    REQUIRE(second);
    CHECK(second->error() == std::errc::no_child_process);
  }
  loop.run();
  REQUIRE(got);
  REQUIRE_FALSE(*got);
  CHECK(got->error() == std::errc::no_child_process);
}

TEST_CASE_FIXTURE(tidy, "a child is refused when no descriptor is free") {
  CHECK(holds_in_child([] {
    eddy::event_loop loop;
    obedient process;
    struct rlimit few{};
    ::getrlimit(RLIMIT_NOFILE, &few);
    few.rlim_cur = 0;
    ::setrlimit(RLIMIT_NOFILE, &few);
    const bool right = refusal(loop, process.pid()) == std::errc::too_many_files_open;
    process.end();
    return end_of(process.pid()) == 0 && right;
  }));
}

TEST_CASE_FIXTURE(with_loop, "a child_process uses a descriptor that it is given, and no other") {
  obedient process(3);
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, process.pid(), 0));
  REQUIRE(pidfd >= 0);
  {
    const int next = ::dup(0);
    ::close(next);
    eddy::child_process child(loop, process.pid(), pidfd);
    CHECK(::fcntl(next, F_GETFD) == -1);
    std::optional<status> got;
    child.start([&](status s) { got = s; });
    process.end();
    loop.run();
    REQUIRE(got);
    CHECK(got->value().code == 3);
  }
  CHECK(::close(pidfd) == 0);
}

TEST_CASE_FIXTURE(with_loop, "a child_process refuses a descriptor of no child") {
  const auto refused = [&](int pidfd) {
    try {
      const eddy::child_process child(loop, ::getpid(), pidfd);
    } catch (const std::system_error& e) {
      return e.code();
    }
    return std::error_code();
  };
  const int own = static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0));
  REQUIRE(own >= 0);
  CHECK(refused(own) == std::errc::no_child_process);
  ::close(own);
  CHECK(refused(own) == std::errc::bad_file_descriptor);
  CHECK(refused(0) == std::errc::bad_file_descriptor);
}

TEST_CASE_FIXTURE(with_loop, "the handlers of many children get their own exit codes") {
  std::vector<eddy::child_process> children;
  int told = 0;
  for (int i = 0; i < 20; ++i) {
    const ::pid_t pid = start_forked([i] {
      ::_exit(i);
      return false;
    });
    children.emplace_back(loop, pid).start([&told, i](status s) {
      CHECK(s->code == i);
      ++told;
    });
  }
  loop.run();
  CHECK(told == 20);
  children.clear();
}

TEST_CASE_TEMPLATE("a child in the background does not keep its loop running", Loop, ANY_LOOP) {
  Loop on;
  obedient process;
  eddy::child_process child(on.loop, process.pid());
  child.background(true);
  child.start([](status) { FAIL("nothing keeps the loop"); });
  on.run();
  CHECK(child.active());
  child.stop();
  process.end();
  CHECK(end_of(process.pid()) == 0);
}

TEST_CASE_FIXTURE(tidy, "in the child of a fork, the handler of a sibling gets an error") {
  eddy::event_loop loop;
  obedient process(5);
  std::optional<status> got;
  eddy::child_process child(loop, process.pid());
  child.start([&](status s) { got = s; });
  const ::pid_t forked = start_forked([&] {
    process.end();
    loop.run();
    return got && !*got && got->error() == std::errc::no_child_process;
  });
  process.end();
  CHECK(end_of(forked) == 0);
  loop.run();
  REQUIRE(got);
  CHECK((*got)->code == 5);
}

TEST_CASE_FIXTURE(with_loop, "an ended child is not reaped before a wait") {
  const ::pid_t pid = start_forked([] {
    ::_exit(5);
    return false;
  });
  REQUIRE(has_ended(pid));
  {
    const eddy::child_process unused(loop, pid);
  }
  CHECK(end_of(pid) == 5);
}

TEST_CASE_FIXTURE(with_loop, "the output of a child is read before the handler of its end runs") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const ::pid_t pid = start_forked([&] { return ::write(ends[1], "x", 1) == 1; });
  REQUIRE(has_ended(pid));
  journal note;
  eddy::child_process child(loop, pid);
  eddy::readiness output(loop, ends[0]);
  child.start([&](status) { note("end"); });
  output.wait_readable([&](std::error_code) { note("output"); });
  loop.run();
  CHECK(note == "output end");
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE_FIXTURE(with_loop, "user time, system time and switches of a child are not mixed up") {
  const ::pid_t pid = start_forked([] {
    const struct timespec moment{0, 1000};
    while (used().voluntary_switches < 500) ::nanosleep(&moment, nullptr);
    while (used().user < 2 * used().system + 10ms) {
      for (int i = 0; i < 1'000'000; ++i) asm volatile("" : : "r"(i));
    }
    return true;
  });
  const std::optional<status> got = end_on(loop, pid);
  REQUIRE(got);
  CHECK((*got)->user_time > (*got)->system_time);
  CHECK((*got)->voluntary_switches >= 500);
}

TEST_CASE_FIXTURE(with_loop, "core_dumped is what the kernel reports") {
  const temporary_directory directory;
  const ::pid_t pid = start_forked([&] {
    const struct rlimit most{RLIM_INFINITY, RLIM_INFINITY};
    ::setrlimit(RLIMIT_CORE, &most);
    if (::chdir(directory.path().c_str()) == 0) std::abort();
    return false;
  });
  siginfo_t info{};
  REQUIRE(::waitid(P_PID, static_cast<::id_t>(pid), &info, WEXITED | WNOWAIT) == 0);
  const std::optional<status> got = end_on(loop, pid);
  REQUIRE(got);
  CHECK((*got)->signal == SIGABRT);
  CHECK((*got)->core_dumped == (info.si_code == CLD_DUMPED));
}

TEST_CASE_FIXTURE(with_still_loop,
                  "a process that the kernel refuses to watch is watched after a pause") {
  obedient process(3);
  std::optional<status> got;
  eddy::child_process child(loop, process.pid());
  std::optional<epoll_refusal> refusal(std::in_place, std::numeric_limits<int>::max());
  child.start([&](status s) { got = s; });
  const auto idle = [&] {
    int turns = 0;
    while (turns < 100 && loop.run_ready()) ++turns;
    return turns < 100;
  };
  const auto pauses = [&] { return idle() && loop.count().timers == 1; };
  for (int i = 0; i < 3; ++i) {
    CHECK(pauses());
    clock.advance(99ms);
    CHECK(pauses());
    clock.advance(1ms);
  }
  SUBCASE("and reported when the kernel watches it") {
    CHECK(pauses());
    refusal.reset();
    clock.advance(100ms);
    CHECK(idle());
    CHECK(loop.count().timers == 0);
    process.end();
    loop.run();
    CHECK(got->value().code == 3);
  }
  SUBCASE("and reported even if the kernel never watches it") {
    CHECK(pauses());
    process.end();
    CHECK(has_ended(process.pid()));
    clock.advance(100ms);
    CHECK(idle());
    CHECK(got->value().code == 3);
  }
  SUBCASE("unless it is stopped, and a new start asks the kernel at once") {
    CHECK(pauses());
    child.stop();
    CHECK(loop.count().timers == 0);
    CHECK(idle());
    refusal.reset();
    child.start([&](status s) { got = s; });
    CHECK(idle());
    CHECK(loop.count().timers == 0);
    process.end();
    loop.run();
    CHECK(got->value().code == 3);
  }
}

TEST_CASE_FIXTURE(with_loop, "a refused watch in the background does not keep its loop running") {
  obedient process(3);
  std::optional<status> got;
  eddy::child_process child(loop, process.pid());
  {
    const epoll_refusal all(std::numeric_limits<int>::max());
    child.start([&](status s) { got = s; });
    while (loop.count().timers == 0) loop.run_ready();
    child.background(true);
    loop.run();
    child.background(false);
  }
  process.end();
  loop.run();
  CHECK(got->value().code == 3);
}
