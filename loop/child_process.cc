// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/child_process.h>

#include <cerrno>
#include <chrono>
#include <list>
#include <new>
#include <string>
#include <system_error>
#include <utility>

#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <eddy/loop/detail/descriptor.h>
#include <eddy/loop/detail/engine.h>
#include <eddy/loop/detail/loop_access.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/reaped_children.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/readiness.h>
#include <eddy/loop/timer_node.h>

namespace eddy {

namespace {

// A kernel that keeps refusing would keep the loop busy without a pause.
constexpr std::chrono::milliseconds pause{100};

// The C library's waitid does not return the rusage.
int wait_for(int pidfd, siginfo_t& info, int options, struct rusage* used) noexcept {
  long done = 0;
  do {
    done = ::syscall(SYS_waitid, P_PIDFD, pidfd, &info, WEXITED | WNOHANG | __WALL | options, used);
  } while (done < 0 && errno == EINTR);
  return static_cast<int>(done);
}

std::error_code last_error() noexcept { return {errno, std::generic_category()}; }

std::string doing(::pid_t pid) { return detail::text({"watching process ", pid}); }

/// Opens a descriptor of a process, which is CLOEXEC.
detail::descriptor open_process(::pid_t pid) {
  return {static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)), doing(pid).c_str()};
}

void expect_child(int pidfd, ::pid_t pid) {
  siginfo_t info{};
  if (wait_for(pidfd, info, WNOWAIT, nullptr) != 0) detail::throw_error(last_error(), doing(pid));
}

/// Returns the status of a process that libev has reaped on its default loop.
exit_status status_of(int waited) noexcept {
  exit_status status;
  if (WIFEXITED(waited)) {
    status.code = WEXITSTATUS(waited);
  } else {
    status.signal = WTERMSIG(waited);
    status.core_dumped = WCOREDUMP(waited);
  }
  return status;
}

duration time_of(const struct timeval& t) noexcept {
  return std::chrono::seconds(t.tv_sec) + std::chrono::microseconds(t.tv_usec);
}

exit_status status_of(const siginfo_t& info, const struct rusage& used) noexcept {
  exit_status status;
  status.user_time = time_of(used.ru_utime);
  status.system_time = time_of(used.ru_stime);
  status.max_resident = static_cast<std::size_t>(used.ru_maxrss) * 1024;
  status.voluntary_switches = static_cast<std::uint64_t>(used.ru_nvcsw);
  status.involuntary_switches = static_cast<std::uint64_t>(used.ru_nivcsw);
  if (info.si_code == CLD_EXITED) {
    status.code = info.si_status;
  } else {
    status.signal = info.si_status;
    status.core_dumped = info.si_code == CLD_DUMPED;
  }
  return status;
}

}  // namespace

/// A process and its descriptor.
struct child_process::state : ready_node {
  /// Waits again after the kernel has refused to watch the process.
  struct retry : timer_node {
    retry(state& s, event_loop& loop) noexcept
        : timer_node(loop, [](ready_node& n) { static_cast<retry&>(n).owner.watch_again(); }),
          owner(s) {}
    state& owner;
    ready_node* node = nullptr;
  };

  state(event_loop& l, ::pid_t p) : ready_node(&run), loop(l), pid(p), again(*this, l) {}
  state(const state&) = delete;
  state& operator=(const state&) = delete;
  ~state() {
    if (!reaped.empty()) detail::loop_access(loop).engine().reaped()->give_back(reaped);
  }

  /// `given` is a descriptor of the process, which this does not own, or negative.
  void open(int given) {
    try {
      if (given < 0) {
        own = open_process(pid);
        given = own.number();
      }
      expect_child(given, pid);
    } catch (const std::system_error&) {
      own = {};
      if (!libev_reaped()) throw;
      return;
    }
    pidfd = given;
    ended.emplace(loop, pidfd);
  }

  /// Whether libev has reaped the child. Only libev's default loop reaps children.
  bool libev_reaped() noexcept {
    detail::reaped_children* const all = detail::loop_access(loop).engine().reaped();
    if (all != nullptr && reaped.empty()) all->take(pid, reaped);
    return !reaped.empty();
  }

  exit_status tell_reaped() noexcept {
    const exit_status status = status_of(reaped.front().status);
    reaped.clear();
    return status;
  }

  void wait(ready_node& node) {
    if (!ended) return loop.ready(node);
    if (refused) {
      again.node = &node;
      try {
        return again.set_after(pause);
      } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): it asks again at once
      }
    }
    ended->wait(readiness::direction::read, node);
  }

  void watch_again() { ended->wait(readiness::direction::read, *again.node); }

  bool gives_way(ready_node& node) noexcept {
    if (std::exchange(gave_way, true)) return false;
    loop.ready(node);
    return true;
  }

  /// Reaps the process, and returns how it ended. Empty if it still runs.
  std::optional<result<exit_status>> reap() {
    if (!reaped.empty() && reaped.front().is_own()) return tell_reaped();
    if (pidfd < 0) return std::unexpected(std::make_error_code(std::errc::no_child_process));
    siginfo_t info{};
    struct rusage used{};
    if (wait_for(pidfd, info, 0, &used) != 0) {
      const std::error_code error = last_error();
      if (libev_reaped()) return tell_reaped();
      return std::unexpected(error);
    }
    if (info.si_pid == 0) {
      refused = ended && ended->error();
      return std::nullopt;
    }
    return status_of(info, used);
  }

  static void run(ready_node& node) {
    auto& self = static_cast<state&>(node);
    if (self.gives_way(node)) return;
    const std::optional<result<exit_status>> end = self.reap();
    if (!end) return self.wait(self);
    auto on_end = std::exchange(self.on_end, nullptr);
    on_end(*end);
  }

  event_loop& loop;
  ::pid_t pid;
  bool gave_way = false;
  bool refused = false;            // the kernel did not watch the process, which still ran
  detail::descriptor own;          // owns nothing if another object owns `pidfd`
  int pidfd = -1;                  // negative if libev has reaped the process
  std::optional<readiness> ended;  // empty if libev has reaped the process
  std::list<detail::reaped_children::end> reaped;  // then its end, until it is reported
  handler<void(result<exit_status>)> on_end;
  retry again;
};

child_process::child_process(event_loop& loop, ::pid_t pid) : child_process(loop, pid, -1) {}
child_process::child_process(event_loop& loop, ::pid_t pid, int pidfd)
    : state_(std::make_unique<state>(loop, pid)) {
  state_->open(pidfd);
}
child_process::child_process(child_process&& other) noexcept = default;
child_process& child_process::operator=(child_process&& other) noexcept = default;
child_process::~child_process() = default;

child_process::state& child_process::there() const noexcept {
  if (!state_) detail::misuse("a child_process was used that was moved from");
  state_->loop.check_thread();
  return *state_;
}

void child_process::start(handler<void(result<exit_status>)> on_end) {
  detail::expect_handler(on_end, "child_process::start");
  state& self = there();
  if (!self.on_end) self.wait(self);
  self.on_end.swap(on_end);
}

void child_process::wait(ready_node& node) { there().wait(node); }

bool child_process::gives_way(ready_node& node) { return there().gives_way(node); }

std::optional<result<exit_status>> child_process::reap() { return there().reap(); }

void child_process::stop() noexcept {
  state& self = there();
  if (self.ended) self.ended->stop();
  self.again.clear();
  self.refused = false;
  self.withdraw();
  const auto dropped = std::exchange(self.on_end, nullptr);
}

bool child_process::active() const noexcept { return static_cast<bool>(there().on_end); }
::pid_t child_process::pid() const noexcept { return there().pid; }
event_loop& child_process::loop() const noexcept { return there().loop; }
void child_process::background(bool on) noexcept {
  if (!there().ended) return;
  state_->ended->background(on);
  state_->again.background(on);
}

}  // namespace eddy
