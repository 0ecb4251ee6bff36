// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/start_process.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/detail/text.h>
#include <eddy/loop/detail/throw_error.h>
#include <eddy/net/detail/set_window.h>

extern char** environ;

namespace eddy::detail {

namespace {

constexpr std::size_t stack_size = std::size_t{64} * 1024;
constexpr int largest_signal = 64;
// Instead of the number of a descriptor.
constexpr int inherited = -1;
constexpr int closed = -2;

constexpr const char* stream_names[] = {"the standard input", "the standard output",
                                        "the standard error"};
constexpr const char* redirect_steps[] = {
    "redirect the standard input", "redirect the standard output", "redirect the standard error"};

/// The plan of the child's work, complete before the child starts. The child reads nothing else.
struct child_plan {
  std::vector<std::string> paths;  // the program, in the order in which they are tried
  std::vector<char*> arguments;    // ended by null, as the next
  std::vector<char*> environment;
  const process_options* options = nullptr;
  const char* directory = nullptr;
  int terminal = -1;
  std::array<int, 3> sources{inherited, inherited, inherited};  // the parent's descriptors
  bool merge = false;  // the standard error is the standard output
  int descriptor_limit = 0;
  const char* within = nullptr;  // words for a redirection that fails

  // Why the child failed, which the child stores.
  int error = 0;
  const char* step = nullptr;
  const char* object = nullptr;
};

// The child's part. It makes raw system calls only: the C library's `setuid` and its like would act
// on the parent's threads, and others take locks that a thread of the parent may hold. Sanitizers
// do not instrument it, because it runs on a stack that they do not know.
#define EDDY_CHILD __attribute__((no_sanitize("address", "thread", "undefined")))

template <class... Arguments>
EDDY_CHILD long raw(long number, Arguments... arguments) noexcept {
  return ::syscall(number, arguments...);
}

EDDY_CHILD bool fails(child_plan& plan, const char* step, const char* object = nullptr) noexcept {
  plan.error = errno;
  plan.step = step;
  plan.object = object;
  return false;
}

EDDY_CHILD void reset_signals() noexcept {
  const std::array<std::uint64_t, 4> by_default{};  // the kernel's sigaction: SIG_DFL, no flags
  for (int number = 1; number <= largest_signal; ++number) {
    raw(SYS_rt_sigaction, number, by_default.data(), nullptr, sizeof(std::uint64_t));
  }
}

EDDY_CHILD bool set_limits(child_plan& plan) noexcept {
  const process_options& o = *plan.options;
  for (const process_options::limit& l : o.limits) {
    const std::array<std::uint64_t, 2> both{l.soft, l.hard};
    if (raw(SYS_prlimit64, 0, l.resource, both.data(), nullptr) < 0) {
      return fails(plan, "set a resource limit");
    }
  }
  if (o.nice && raw(SYS_setpriority, PRIO_PROCESS, 0, *o.nice) < 0) {
    return fails(plan, "set the nice value");
  }
  return true;
}

EDDY_CHILD bool set_user(child_plan& plan) noexcept {
  const process_options& o = *plan.options;
  // Also without groups: those of this process must not stay with another user.
  if (o.user || !o.groups.empty()) {
    if (raw(SYS_setgroups, o.groups.size(), o.groups.data()) < 0) {
      return fails(plan, "set the supplementary groups");
    }
  }
  if (o.group && raw(SYS_setgid, *o.group) < 0) return fails(plan, "set the group");
  if (o.user && raw(SYS_setuid, *o.user) < 0) return fails(plan, "set the user");
  return true;
}

EDDY_CHILD bool join_session(child_plan& plan) noexcept {
  const auto place = plan.options->place;
  if (plan.terminal >= 0 || place == process_options::session_of_its_own) {
    if (raw(SYS_setsid) < 0) return fails(plan, "make a session");
  } else if (place == process_options::group_of_its_own) {
    if (raw(SYS_setpgid, 0, 0) < 0) return fails(plan, "make a process group");
  }
  if (plan.terminal >= 0 && raw(SYS_ioctl, plan.terminal, TIOCSCTTY, 0) < 0) {
    return fails(plan, "take the terminal");
  }
  return true;
}

EDDY_CHILD bool redirect(child_plan& plan) noexcept {
  // First out of the way of the numbers that are about to be replaced.
  for (int i = 0; i < 3; ++i) {
    int& source = plan.sources[static_cast<std::size_t>(i)];
    if (source == i || source > 2 || source < 0) continue;
    source = static_cast<int>(raw(SYS_fcntl, source, F_DUPFD, 3));
    if (source < 0) return fails(plan, redirect_steps[i], plan.within);
  }
  for (int i = 0; i < 3; ++i) {
    if (i == 2 && plan.merge) {
      if (raw(SYS_dup3, 1, 2, 0) < 0) return fails(plan, redirect_steps[i], plan.within);
      continue;
    }
    const int source = plan.sources[static_cast<std::size_t>(i)];
    if (source == inherited) continue;  // unless it is close-on-exec
    if (source == closed) {
      raw(SYS_close, i);
    } else if (source == i) {
      raw(SYS_fcntl, source, F_SETFD, 0);
    } else if (raw(SYS_dup3, source, i, 0) < 0) {
      return fails(plan, redirect_steps[i], plan.within);
    }
  }
  constexpr unsigned last = ~0U;
  if (raw(SYS_close_range, 3U, last, 0U) < 0) {
    // A sandbox may forbid close_range.
    for (int i = 3; i < plan.descriptor_limit; ++i) raw(SYS_close, i);
  }
  return true;
}

/// Tries the paths as `execvp` does: it goes on where a program is missing or forbidden.
EDDY_CHILD void execute(child_plan& plan, const char* const* paths) noexcept {
  int error = ENOENT;
  for (; *paths != nullptr; ++paths) {
    raw(SYS_execve, *paths, plan.arguments.data(), plan.environment.data());
    if (errno == EACCES) {
      error = EACCES;
    } else if (errno != ENOENT && errno != ENOTDIR) {
      error = errno;
      break;
    }
  }
  errno = error;
  fails(plan, "execute the program");
}

struct child_start {
  child_plan* plan;
  const char* const* paths;
};

EDDY_CHILD int run_child(void* argument) noexcept {
  const auto& start = *static_cast<child_start*>(argument);
  child_plan& plan = *start.plan;
  reset_signals();
  bool good = join_session(plan) && set_limits(plan) && set_user(plan);
  if (good && plan.directory != nullptr && raw(SYS_chdir, plan.directory) < 0) {
    good = fails(plan, "change the directory to", plan.directory);
  }
  if (good && redirect(plan)) {
    constexpr std::uint64_t none = 0;
    raw(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, sizeof none);
    execute(plan, start.paths);
  }
  raw(SYS_exit_group, 127);
  return 127;
}

#undef EDDY_CHILD

// The parent's part.

[[noreturn]] void fail(const process_options& o, std::string_view step, std::string_view object,
                       int error) {
  fail_start(o.program, step, std::error_code(error, std::generic_category()), object);
}

std::string_view name_of(std::string_view entry) { return entry.substr(0, entry.find('=')); }

/// The entries of the child's environment, which refer to `options` and to this process's own.
std::vector<char*> make_environment(const process_options& o) {
  std::vector<char*> all;
  const auto replaced = [&o](std::string_view name) {
    return std::ranges::any_of(o.environment,
                               [&](const std::string& s) { return name_of(s) == name; });
  };
  if (o.inherit_environment) {
    for (char** e = environ; e != nullptr && *e != nullptr; ++e) {
      if (!replaced(name_of(*e))) all.push_back(*e);
    }
  }
  for (auto entry = o.environment.begin(); entry != o.environment.end(); ++entry) {
    if (entry->find('=') == std::string::npos) continue;  // removes a variable
    const bool again = std::any_of(entry + 1, o.environment.end(), [&](const std::string& later) {
      return name_of(later) == name_of(*entry);
    });
    if (!again) all.push_back(const_cast<char*>(entry->c_str()));
  }
  all.push_back(nullptr);
  return all;
}

/// The paths at which the program may lie: `PATH` of this process is searched, as by `execvp`.
std::vector<std::string> find_program(const std::string& program) {
  std::vector<std::string> paths;
  if (program.empty()) return paths;  // ENOENT, as `execvp`
  if (program.find('/') != std::string::npos) {
    paths.push_back(program);
    return paths;
  }
  const char* const set = ::getenv("PATH");
  std::string_view rest = set != nullptr ? set : "/bin:/usr/bin";  // the C library's default
  for (;;) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    std::string path(rest.substr(0, end));
    if (!path.empty()) path += '/';
    paths.push_back(path + program);
    if (end == rest.size()) return paths;
    rest.remove_prefix(end + 1);
  }
}

void expect_no_zero(const process_options& o) {
  const auto check = [&o](const std::string& words, const char* step) {
    if (words.find('\0') != std::string::npos) fail(o, step, {}, EINVAL);
  };
  check(o.program, "pass a name that contains a zero byte");
  check(o.directory, "pass a directory that contains a zero byte");
  for (const auto& a : o.arguments) check(a, "pass an argument that contains a zero byte");
  for (const auto& e : o.environment) check(e, "pass a variable that contains a zero byte");
}

/// The system would take the nearest value that it has.
void expect_nice(const process_options& o) {
  if (o.nice && (*o.nice < -20 || *o.nice > 19)) {
    fail(o, text({"set the nice value to ", *o.nice}), {}, EINVAL);
  }
}

}  // namespace

void fail_start(const std::string& program, std::string_view step, std::error_code why,
                std::string_view object) {
  const char* const space = object.empty() ? "" : " ";
  throw_error(why, text({"start ", visible(program), ": ", step, space, visible(object)}));
}

/// Opens what the child's standard streams are redirected to.
class redirections {
public:
  redirections(const process_options& options, child_plan& plan, started_process& started)
      : options_(options), plan_(plan), started_(started) {}

  void open() {
    // Before a new descriptor gets one of these numbers: a descriptor that is closed here is not
    // inherited, and none is redirected to.
    const std::array<const redirection*, 3> all{&options_.input, &options_.output, &options_.error};
    for (std::size_t i = 0; i < all.size(); ++i) {
      struct stat status{};
      if (os().file_status(static_cast<int>(i), &status) < 0) plan_.sources[i] = closed;
      const bool given = all[i]->to_ == redirection::target::descriptor;
      if (given && os().file_status(all[i]->descriptor_, &status) < 0) failed(redirect_steps[i]);
    }
    if (options_.terminal) open_terminal(*options_.terminal);
    for (std::size_t i = 0; i < all.size(); ++i) open_one(i, *all[i]);
  }

private:
  void open_terminal(const window_size& size) {
    started_.terminal = socket_descriptor(os().open_terminal());
    if (started_.terminal.number() < 0) failed("make a pseudo-terminal");
    if (set_window(started_.terminal.number(), size) < 0) failed("set the size of the terminal");
    peer_ = socket_descriptor(os().open_terminal_peer(started_.terminal.number()));
    if (peer_.number() < 0) failed("open the pseudo-terminal");
    plan_.terminal = peer_.number();
  }

  void open_one(std::size_t i, const redirection& to) {
    int& source = plan_.sources[i];
    switch (to.to_) {
      case redirection::target::inherit:
        if (peer_.number() >= 0) source = peer_.number();
        break;
      case redirection::target::null:
        open_file(i, "/dev/null", i == 0 ? O_RDONLY : O_WRONLY);
        break;
      case redirection::target::file: open_file(i, to.path_, to.flags_); break;
      case redirection::target::descriptor: source = to.descriptor_; break;
      case redirection::target::output:
        if (i != 2) misuse("redirection::to_output is only for the standard error");
        plan_.merge = true;
        break;
      case redirection::target::pipe: make_pipe(i); break;
    }
  }

  void open_file(std::size_t i, const std::string& path, int flags) {
    if (path.contains('\0')) {
      fail(options_, "open a file whose name contains a zero byte", {}, EINVAL);
    }
    // O_NONBLOCK: a FIFO without a peer must not block the loop.
    own_[i] = socket_descriptor(os().open(path.c_str(), flags | O_NOCTTY | O_NONBLOCK, 0666));
    if (own_[i].number() < 0) failed("open", path);
    if (os().set_blocking(own_[i].number()) < 0) failed("make blocking", path);
    plan_.sources[i] = own_[i].number();
  }

  void make_pipe(std::size_t i) {
    std::array<int, 2> ends{-1, -1};
    if (os().pipe(ends.data(), 0) < 0) failed("make a pipe for", stream_names[i]);
    const std::size_t childs = i == 0 ? 0 : 1;
    own_[i] = socket_descriptor(ends[childs]);
    started_.ends[i] = socket_descriptor(ends[1 - childs]);
    // Only this end: each end of a pipe has flags of its own.
    if (os().set_non_blocking(ends[1 - childs]) < 0) {
      failed("make non-blocking the pipe for", stream_names[i]);
    }
    plan_.sources[i] = own_[i].number();
  }

  [[noreturn]] void failed(const char* step, std::string_view object = {}) const {
    fail(options_, step, object, errno);
  }

  const process_options& options_;
  child_plan& plan_;
  started_process& started_;
  std::array<socket_descriptor, 3> own_;  // the child's ends, which this process closes
  socket_descriptor peer_;
};

namespace {

struct stack {
  stack() : low(os().map_stack(stack_size)) {}
  stack(const stack&) = delete;
  stack& operator=(const stack&) = delete;
  ~stack() {
    if (low != nullptr) os().unmap_stack(low, stack_size);
  }
  void* low;
};

}  // namespace

started_process start_process(const process_options& options) {
  expect_no_zero(options);
  expect_nice(options);
  child_plan plan;
  plan.options = &options;
  plan.paths = find_program(options.program);
  plan.arguments.push_back(const_cast<char*>(options.program.c_str()));
  for (const auto& a : options.arguments) plan.arguments.push_back(const_cast<char*>(a.c_str()));
  plan.arguments.push_back(nullptr);
  plan.environment = make_environment(options);
  if (std::ranges::any_of(options.limits,
                          [](const auto& l) { return l.resource == RLIMIT_NOFILE; })) {
    plan.within = "within the given RLIMIT_NOFILE";
  }
  if (!options.directory.empty()) plan.directory = options.directory.c_str();
  plan.descriptor_limit = static_cast<int>(std::min<std::size_t>(os().descriptor_limit(), 1 << 20));

  std::vector<const char*> paths;
  paths.reserve(plan.paths.size() + 1);
  for (const auto& p : plan.paths) paths.push_back(p.c_str());
  paths.push_back(nullptr);

  started_process started;
  redirections streams(options, plan, started);
  streams.open();
  const stack memory;
  if (memory.low == nullptr) fail(options, "make a stack", {}, errno);

  child_start start{&plan, paths.data()};
  int pidfd = -1;
  std::uint64_t mask = 0;
  os().block_signals(&mask);
  started.pid = os().start_child(&run_child, static_cast<std::byte*>(memory.low) + stack_size,
                                 &start, &pidfd);
  const int error = errno;
  os().restore_signals(&mask);
  if (started.pid < 0) fail(options, "make a process", {}, error);
  started.pidfd = socket_descriptor(pidfd);
  if (plan.error != 0) {
    // It has ended already, so this takes no time.
    while (os().reap(pidfd) < 0 && errno == EINTR) {
    }
    const char* const object = plan.object == nullptr ? "" : plan.object;
    fail(options, plan.step, object, plan.error);
  }
  return started;
}

}  // namespace eddy::detail
