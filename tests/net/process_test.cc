// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/process.h>.
#include <eddy/net/process.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <ev.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/join.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/loop/timer.h>
#include <eddy/net/detail/system.h>

#include "support/async_test.h"
#include "support/epoll_refusal.h"
#include "support/failing_system.h"
#include "support/forked.h"
#include "support/journal.h"
#include "support/sanitized.h"
#include "support/shell.h"
#include "support/stream_tasks.h"
#include "support/temporary_directory.h"

using namespace std::chrono_literals;
using eddy::as_result;
using eddy::event_loop;
using eddy::exit_status;
using eddy::process;
using eddy::process_options;
using eddy::redirection;
using eddy::task;

namespace {

/// Whether this process has no child that has ended, and no other either.
bool no_child_left() { return ::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD; }

/// Starts a child and waits until it ignores SIGTERM.
process stubborn_child(event_loop& loop, std::optional<eddy::duration> grace = std::nullopt) {
  process_options options = shell("trap '' TERM; echo ready; while :; do sleep 0.01; done");
  options.output = redirection::pipe();
  if (grace) options.grace = *grace;
  process child(loop, std::move(options));
  std::array<char, 10> buffer{};
  child.output().read(buffer, [](eddy::result<std::size_t>) {});
  loop.run();
  return child;
}

/// Reads until `wanted` has come.
template <class Reader>
task<std::string> read_until(Reader& from, std::string wanted) {
  std::string all;
  std::array<char, 4096> buffer;
  while (!all.contains(wanted)) {
    const std::size_t n = co_await from.read(buffer);
    if (n == 0) break;
    all.append(buffer.data(), n);
  }
  co_return all;
}

/// Returns the text that the shell command prints, with the options that `change` sets.
template <class Change>
task<std::string> printed(event_loop& loop, std::string command, Change change) {
  process_options options = shell(std::move(command));
  options.output = redirection::pipe();
  change(options);
  process child(loop, std::move(options));
  std::string all = co_await read_all(child.output());
  const exit_status end = co_await child.wait();
  CHECK(end.code);
  co_return all;
}

std::string error_of_start(event_loop& loop, const process_options& options) {
  try {
    const process child(loop, options);
  } catch (const std::system_error& e) {
    return e.what();
  }
  return "no error";
}

std::string content(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

// The end.

ASYNC_TEST("wait returns the exit code, and a later wait returns it again") {
  process child(loop, shell("exit 7"));
  CHECK(child.started());
  CHECK(child.pid() > 0);
  const exit_status end = co_await child.wait();
  CHECK(end.code == 7);
  CHECK(!end.success());
  CHECK(end.max_resident > 0);
  CHECK(!child.running());
  const exit_status again = co_await child.wait();
  CHECK(again.code == 7);
  CHECK(no_child_left());
}

ASYNC_TEST("wait returns the signal that ended the child") {
  process child(loop, shell("kill -9 $$"));
  const exit_status end = co_await child.wait();
  CHECK(end.signal == SIGKILL);
  CHECK(!end.code);
}

TEST_CASE_FIXTURE(with_loop,
                  "the handler of wait runs once, from the loop, before and after the end") {
  process child(loop, shell("exit 3"));
  journal note;
  child.wait([&](eddy::result<exit_status> end) {
    note(*end->code);
    child.wait([&](eddy::result<exit_status> again) { note(*again->code); });
    note("started");
  });
  CHECK(note == "");
  loop.run();
  CHECK(note == "3 started 3");
  CHECK(child.try_wait()->value().code == 3);
}

TEST_CASE_FIXTURE(with_loop, "try_wait reaps a child that has ended, without the loop") {
  process child(loop, shell("exit 4"));
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(child.pid()), &info, WEXITED | WNOWAIT);
  CHECK(child.try_wait()->value().code == 4);
  CHECK(no_child_left());
}

TEST_CASE_FIXTURE(with_loop,
                  "a child that nobody waits for keeps no loop running, and leaves no zombie") {
  process child(loop, process_options("/bin/sleep", {"60"}));
  loop.run();
  CHECK(child.running());
  child.signal(SIGKILL);
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(child.pid()), &info, WEXITED | WNOWAIT);
  while (child.running()) loop.run_ready();
  CHECK(no_child_left());
}

TEST_CASE_FIXTURE(with_loop, "stop_waiting destroys the handler, and the child runs on") {
  process child(loop, process_options("/bin/sleep", {"60"}));
  bool ran = false;
  child.wait([&](eddy::result<exit_status>) { ran = true; });
  child.stop_waiting();
  loop.run();
  CHECK(!ran);
  CHECK(child.running());
  child.terminate(0s);
  while (child.running()) loop.run_once();
  CHECK(!ran);
}

TEST_CASE_FIXTURE(with_jumping_loop,
                  "destroying a process resumes its waiter with operation_canceled") {
  auto child = std::make_unique<process>(loop, process_options("/bin/sleep", {"60"}));
  auto waiting = [](process& p) -> task<std::error_code> {
    const auto end = co_await as_result(p.wait());
    co_return end.error();
  };
  auto dropping = [](std::unique_ptr<process>& p) -> task<> {
    co_await eddy::sleep(1s);
    p.reset();
  };
  const auto [error, nothing] = eddy::block_on(loop, eddy::join(waiting(*child), dropping(child)));
  CHECK(error == std::errc::operation_canceled);
  loop.run();
  CHECK(no_child_left());
}

TEST_CASE_FIXTURE(with_loop,
                  "a handler of wait may destroy its process and start another in its place") {
  auto child = std::make_unique<process>(loop, shell("exit 1"));
  int code = -1;
  child->wait([&](eddy::result<exit_status>) {
    child = std::make_unique<process>(loop, shell("exit 2"));
    child->wait([&](eddy::result<exit_status> end) { code = *end->code; });
  });
  loop.run();
  CHECK(code == 2);
}

// Ending.

TEST_CASE_FIXTURE(with_loop,
                  "a destroyed process ends its child with SIGTERM, and the loop reaps it") {
  const temporary_directory directory;
  const std::string file = directory / "file";
  {
    process_options options = shell("trap 'echo term > " + file +
                                    "; exit' TERM; echo ready; "
                                    "while :; do sleep 0.01; done");
    options.output = redirection::pipe();
    process child(loop, std::move(options));
    std::array<char, 10> buffer{};
    child.output().read(buffer, [](eddy::result<std::size_t>) {});
    loop.run();
  }
  loop.run();
  CHECK(content(file) == "term\n");
  CHECK(no_child_left());
}

TEST_CASE_FIXTURE(with_jumping_loop, "a child that ignores SIGTERM gets SIGKILL after its grace") {
  process child = stubborn_child(loop);
  const auto begun = clock.now();
  child.terminate(5s);
  std::optional<exit_status> end;
  child.wait([&](eddy::result<exit_status> e) { end = *e; });
  loop.run();
  CHECK(end->signal == SIGKILL);
  CHECK(clock.now() - begun == 5s);
}

TEST_CASE_FIXTURE(
    with_jumping_loop,
    "a destroyed process kills a child that ignores SIGTERM, after the grace of its options") {
  const auto begun = clock.now();
  {
    process child = stubborn_child(loop, 2s);
  }
  CHECK(loop.dump().contains("which is being ended"));
  loop.run();
  CHECK(clock.now() - begun == 2s);
  CHECK(no_child_left());
}

TEST_CASE_FIXTURE(with_loop, "terminate without a grace kills at once, and a stopped child too") {
  process child(loop, process_options("/bin/sleep", {"60"}));
  CHECK(child.signal(SIGSTOP));
  child.terminate(0s);
  std::optional<exit_status> end;
  child.wait([&](eddy::result<exit_status> e) { end = *e; });
  loop.run();
  CHECK(end->signal == SIGKILL);
  CHECK(!child.signal(SIGTERM));
  child.terminate();
}

TEST_CASE_FIXTURE(with_loop, "a stopped child gets SIGTERM, because it is continued") {
  process child(loop, process_options("/bin/sleep", {"60"}));
  child.signal(SIGSTOP);
  child.terminate(1h);
  std::optional<exit_status> end;
  child.wait([&](eddy::result<exit_status> e) { end = *e; });
  loop.run();
  CHECK(end->signal == SIGTERM);
}

TEST_CASE_FIXTURE(with_loop, "terminate ends the whole group of a child that leads one") {
  for (const auto place :
       {process_options::group_of_its_own, process_options::session_of_its_own}) {
    process_options options = shell("sleep 60 & echo $!; wait");
    options.output = redirection::pipe();
    options.place = place;
    process child(loop, std::move(options));
    std::array<char, 100> buffer{};
    std::size_t size = 0;
    child.output().read(buffer, [&](eddy::result<std::size_t> n) { size = *n; });
    loop.run();
    CHECK(::getpgid(child.pid()) == child.pid());
    CHECK((::getsid(child.pid()) == child.pid()) == (place == process_options::session_of_its_own));
    child.terminate(1h);
    // The pipe ends only when the grandchild has gone, too.
    bool ended = false;
    child.output().read(buffer, [&](eddy::result<std::size_t> n) { ended = *n == 0; });
    loop.run();
    CHECK(ended);
    child.wait([](eddy::result<exit_status> end) { CHECK(end->signal == SIGTERM); });
    loop.run();
  }
}

namespace {

/// Returns when the child has ended. It is not reaped.
void await_end(::pid_t pid) {
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT);
}

/// A process in the group of a child. Commands of the child talk to this object by descriptor 0.
class group_member {
public:
  group_member() { REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_) == 0); }
  group_member(const group_member&) = delete;
  group_member& operator=(const group_member&) = delete;
  ~group_member() {
    for (const int end : ends_) ::close(end);
  }

  /// A child that leads a group with the member in it.
  process_options leader(std::string command) {
    process_options options = shell(std::move(command));
    options.input = redirection::descriptor(ends_[1]);
    options.place = process_options::group_of_its_own;
    return options;
  }
  [[nodiscard]] std::string line() const {
    std::string all;
    for (char c = 0; ::read(ends_[0], &c, 1) == 1 && c != '\n';) all += c;
    return all;
  }
  /// Whether the member answers. If it has ended, nobody else has the other end.
  [[nodiscard]] bool answers() {
    ::close(std::exchange(ends_[1], -1));
    constexpr std::string_view question = "alive\n";
    ::send(ends_[0], question.data(), question.size(), MSG_NOSIGNAL);
    return line() == "alive";
  }

private:
  int ends_[2];
};

}  // namespace

TEST_CASE_FIXTURE(tidy, "members of a group that outlive the child are left alone") {
  const std::string member = "exec 3<&0; { echo ready >&3; read l <&3; echo $l >&3; } & ";
  group_member left;
  eddy::manual_clock clock;
  std::optional<event_loop> loop(std::in_place, clock);
  SUBCASE("when the child has ended and is not reaped") {
    std::optional<process> child(std::in_place, *loop, left.leader(member + "exit 0"));
    CHECK(left.line() == "ready");
    await_end(child->pid());
    SUBCASE("and terminate is called") { child->terminate(1h); }
    SUBCASE("and terminate is called without a grace") { child->terminate(0s); }
    SUBCASE("and the process is destroyed") { child.reset(); }
    CHECK(left.answers());
  }
  SUBCASE("when the child ends in its grace") {
    std::optional<process> child(std::in_place, *loop,
                                 left.leader("trap '' TERM; " + member + "exec sleep 60"));
    CHECK(left.line() == "ready");
    const ::pid_t pid = child->pid();
    child->terminate(1h);
    SUBCASE("and the grace is over") {
      ::kill(pid, SIGKILL);
      await_end(pid);
      clock.advance(1h);
      loop->run_ready();
    }
    SUBCASE("and the loop is destroyed") {
      child.reset();
      ::kill(pid, SIGKILL);
      await_end(pid);
      loop.reset();
    }
    CHECK(left.answers());
  }
  if (loop) loop->run();
  CHECK(no_child_left());
}

TEST_CASE_FIXTURE(with_loop,
                  "a stopped member of a group ends, also if the child ends at SIGTERM at once") {
  struct : eddy::detail::system {
    int signal_group(::pid_t group, int number) override {
      const int result = system::signal_group(group, number);
      if (number == SIGTERM) await_end(group);
      return result;
    }
  } prompt;
  const eddy::detail::scoped_system installed(prompt);
  // Without this, the kernel itself would continue the group when its leader ends.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  group_member member;
  process child(loop, member.leader("exec 3<&0; sh -c 'echo $$ >&3; read l <&3' & exec 3>&- <&-; "
                                    "exec sleep 60"));
  const ::pid_t pid = std::stoi(member.line());
  const auto stopped = [pid] {
    return content("/proc/" + std::to_string(pid) + "/stat").contains(") T ");
  };
  ::kill(pid, SIGSTOP);
  while (!stopped()) std::this_thread::yield();
  child.terminate(1h);
  CHECK(!stopped());
  ::kill(pid, SIGCONT);
  CHECK(end_of(pid) == -SIGTERM);
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
  child.wait([](eddy::result<exit_status> end) { CHECK(end->signal == SIGTERM); });
  loop.run();
}

ASYNC_TEST("signal reaches the child alone, and not its group") {
  group_member member;
  process child(loop, member.leader("exec 3<&0; { echo ready >&3; read l <&3; echo $l >&3; } & "
                                    "exec sleep 60"));
  CHECK(member.line() == "ready");
  CHECK(child.signal(SIGTERM));
  const exit_status end = co_await child.wait();
  CHECK(end.signal == SIGTERM);
  CHECK(member.answers());
}

ASYNC_TEST("a pipe of a process can be moved, and then outlives the process") {
  process_options options = shell("echo words");
  options.output = redirection::pipe();
  std::optional<process> child(std::in_place, loop, std::move(options));
  eddy::pipe_reader output = std::move(child->output());
  CHECK(!child->output().open());
  co_await child->wait();
  child.reset();
  const std::string all = co_await read_all(output);
  CHECK(all == "words\n");
}

TEST_CASE_FIXTURE(with_loop, "no signal is sent to a child that has ended and is not reaped") {
  process child(loop, shell("exit 3"));
  await_end(child.pid());
  CHECK(!child.signal(SIGTERM));
  CHECK(!child.signal(0));
  CHECK(child.running());
  child.wait([](eddy::result<exit_status> end) { CHECK(end->code == 3); });
  loop.run();
}

TEST_CASE_FIXTURE(tidy,
                  "a loop that is destroyed kills and reaps the children that are being ended") {
  {
    event_loop loop;
    process child = stubborn_child(loop);
  }
  CHECK(no_child_left());
}

TEST_CASE_FIXTURE(tidy, "a detached child outlives its process and the loop") {
  ::pid_t pid = -1;
  {
    event_loop loop;
    process child(loop, process_options("/bin/sleep", {"60"}));
    pid = child.pid();
    child.detach();
    CHECK(!child.started());
    loop.run();
    CHECK(::kill(pid, 0) == 0);
    CHECK(loop.dump().contains("which runs on"));
  }
  CHECK(::kill(pid, SIGKILL) == 0);
  CHECK(end_of(pid) == -SIGKILL);
}

TEST_CASE_FIXTURE(with_loop,
                  "a process that is moved goes on waiting, and assigning ends the old child") {
  process child(loop, process_options("/bin/sleep", {"60"}));
  const ::pid_t first = child.pid();
  process other(loop, shell("exit 5"));
  int code = -1;
  other.wait([&](eddy::result<exit_status> e) { code = *e->code; });
  child = std::move(other);
  CHECK(!other.started());
  loop.run();
  CHECK(code == 5);
  CHECK(::kill(first, 0) == -1);
}

TEST_CASE_FIXTURE(
    with_loop, "the child of a fork that destroys a process leaves the child of the parent alone") {
  auto child = std::make_unique<process>(loop, process_options("/bin/sleep", {"60"}));
  CHECK(holds_in_child([&] {
    child.reset();
    loop.run();  // which does not wait for the sibling
    return true;
  }));
  loop.run_ready();
  CHECK(child->running());
  child->terminate(0s);
  child->wait([](eddy::result<exit_status> e) { CHECK(e->signal == SIGKILL); });
  loop.run();
}

// The surroundings of the program.

ASYNC_TEST("the environment is inherited, changed, or replaced") {
  ::setenv("EDDY_KEPT", "kept", 1);
  ::setenv("EDDY_GONE", "gone", 1);
  const std::string changed = co_await printed(
      loop, "echo $EDDY_KEPT:$EDDY_GONE:$EDDY_NEW:$EDDY_TWICE", [](process_options& o) {
        o.environment = {"EDDY_GONE", "EDDY_NEW=new", "EDDY_TWICE=1", "EDDY_TWICE=2"};
      });
  CHECK(changed == "kept::new:2\n");
  const std::string replaced = co_await printed(loop, "/usr/bin/env", [](process_options& o) {
    o.inherit_environment = false;
    o.environment = {"EDDY_NEW=new"};
  });
  CHECK(replaced.contains("EDDY_NEW=new\n"));
  CHECK(!replaced.contains("EDDY_KEPT"));
  ::unsetenv("EDDY_KEPT");
  ::unsetenv("EDDY_GONE");
}

ASYNC_TEST("the child starts in its directory") {
  const temporary_directory directory;
  const std::string where =
      co_await printed(loop, "pwd -P", [&](process_options& o) { o.directory = directory.path(); });
  CHECK(where == directory.path() + "\n");
}

ASYNC_TEST("a program without a slash is searched in PATH, past directories without it") {
  const std::string before = ::getenv("PATH");
  const temporary_directory directory;
  std::ofstream(directory / "date") << "not executable";
  ::setenv("PATH", ("/nowhere:/dev/null:" + directory.path() + ":" + before).c_str(), 1);
  process_options options("date", {"+here"});
  options.output = redirection::pipe();
  process child(loop, std::move(options));
  const std::string all = co_await read_all(child.output());
  CHECK(all == "here\n");
  const exit_status end = co_await child.wait();
  CHECK(end.success());
  ::setenv("PATH", directory.path().c_str(), 1);
  CHECK(error_of_start(loop, process_options("date", {})) ==
        "start date: execute the program: Permission denied");
  ::setenv("PATH", before.c_str(), 1);
}

ASYNC_TEST("signals are unblocked in the child, and have their default actions") {
  std::signal(SIGUSR1, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const std::string seen =
      co_await printed(loop, "grep -E 'SigBlk|SigIgn' /proc/self/status", [](process_options&) {});
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  std::signal(SIGUSR1, SIG_DFL);
  std::signal(SIGPIPE, SIG_DFL);
  CHECK(seen == "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

ASYNC_TEST("the child has no descriptors but its three streams") {
  const int open = ::dup(0);  // not close-on-exec
  const std::string all =
      co_await printed(loop, "exec ls -l /proc/self/fd", [](process_options& o) {
        o.input = redirection::null();
        o.error = redirection::null();
      });
  ::close(open);
  CHECK(all.contains(" 0 -> /dev/null"));
  CHECK(all.contains(" 1 -> pipe:"));
  CHECK(all.contains(" 2 -> /dev/null"));
  // The fourth is the directory that `ls` reads.
  CHECK(std::ranges::count(all, '\n') == 5);
}

ASYNC_TEST("limits and the nice value reach the child") {
  const std::string all = co_await printed(loop, "ulimit -n; nice", [](process_options& o) {
    o.limits = {{RLIMIT_NOFILE, 50, 60}};
    o.nice = 7;
  });
  CHECK(all == "50\n7\n");
}

ASYNC_TEST("a privileged process starts a child as another user, without its own groups") {
  if (::geteuid() != 0) co_return;
  const std::string all = co_await printed(loop, "id -u; id -g; id -G", [](process_options& o) {
    o.user = 12345;
    o.group = 23456;
    o.groups = {34567};
    o.directory = "/";
  });
  CHECK(all == "12345\n23456\n23456 34567\n");
  CHECK(::getuid() == 0);
  std::ifstream status("/proc/thread-self/status");
}

// Redirections.

ASYNC_TEST("pipes carry the input, the output and the error of the child") {
  process_options options = shell("cat; echo wrong >&2");
  options.input = redirection::pipe();
  options.output = redirection::pipe();
  options.error = redirection::pipe();
  process child(loop, std::move(options));
  auto feed = [](process& p) -> task<> {
    const std::string much(300'000, 'i');
    co_await p.input().write(much);
    p.input().close();
  };
  auto all = eddy::join(feed(child), read_all(child.output()), read_all(child.error()));
  const auto [nothing, output, error] = co_await std::move(all);
  CHECK(output.size() == 300'000);
  CHECK(error == "wrong\n");
  const exit_status end = co_await child.wait();
  CHECK(end.success());
}

ASYNC_TEST("the error can be merged into the output, whichever the output is") {
  const std::string all =
      co_await printed(loop, "echo a; echo b >&2; echo c",
                       [](process_options& o) { o.error = redirection::to_output(); });
  CHECK(all == "a\nb\nc\n");
}

ASYNC_TEST("files are read, written and appended to") {
  const temporary_directory directory;
  const std::string in = directory / "in";
  const std::string out = directory / "out";
  std::ofstream(in) << "input";
  std::ofstream(out) << "a longer text than before";
  for (const bool append : {false, true}) {
    process_options options("/bin/cat");
    options.input = redirection::read_file(in);
    options.output = append ? redirection::append_file(out) : redirection::write_file(out);
    process child(loop, std::move(options));
    const exit_status end = co_await child.wait();
    CHECK(end.success());
  }
  CHECK(content(out) == "inputinput");
}

ASYNC_TEST("descriptors can be swapped: the child's output is this process's error") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  process_options options = shell("echo out; echo err >&2");
  options.output = redirection::descriptor(ends[1]);
  options.error = redirection::descriptor(ends[1]);
  {
    process child(loop, std::move(options));
    const exit_status end = co_await child.wait();
    CHECK(end.success());
  }
  std::array<char, 100> buffer;
  CHECK(::read(ends[0], buffer.data(), buffer.size()) == 8);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE("standard streams that are exchanged, or closed in this process, reach the child right") {
  CHECK(holds_in_child([] {
    const temporary_directory directory;
    const int out = ::open((directory / "out").c_str(), O_CREAT | O_WRONLY, 0600);
    const int err = ::open((directory / "err").c_str(), O_CREAT | O_WRONLY, 0600);
    ::dup2(out, 1);
    ::dup2(err, 2);
    event_loop loop;
    process_options options = shell("echo to1; echo to2 >&2");
    options.output = redirection::descriptor(2);
    options.error = redirection::descriptor(1);
    process child(loop, std::move(options));
    child.wait([](eddy::result<exit_status>) {});
    loop.run();
    return content(directory / "out") == "to2\n" && content(directory / "err") == "to1\n";
  }));
  CHECK(holds_in_child([] {
    ::close(0);
    ::close(1);
    event_loop loop;
    process_options options = shell("test ! -e /proc/self/fd/0 && test -p /proc/self/fd/1");
    options.output = redirection::pipe();
    process child(loop, std::move(options));
    bool good = false;
    child.wait([&](eddy::result<exit_status> e) { good = e->success(); });
    loop.run();
    return good;
  }));
}

TEST_CASE("a descriptor that is closed is not redirected to, even if its number is used again") {
  for (const int number : {0, 1}) {
    CHECK(holds_in_child([number] {
      event_loop loop;
      ::close(number);
      process_options options = shell("true");
      options.input = redirection::descriptor(number);
      options.error = redirection::pipe();  // gets the number
      return error_of_start(loop, options) ==
             "start /bin/sh: redirect the standard input: Bad file descriptor";
    }));
  }
}

TEST_CASE_FIXTURE(with_still_loop,
                  "a child that the kernel refuses to watch is reaped after a pause") {
  std::optional<epoll_refusal> refusal(std::in_place, std::numeric_limits<int>::max());
  process_options options = shell("read line; exit 7");
  options.input = redirection::pipe();
  process child(loop, std::move(options));
  std::optional<int> code;
  child.wait([&](eddy::result<exit_status> end) { code = end->code; });
  const auto pauses = [&] {
    int turns = 0;
    while (turns < 100 && loop.run_ready()) ++turns;
    return turns < 100 && loop.count().timers == 1;
  };
  CHECK(pauses());
  clock.advance(100ms);
  CHECK(pauses());
  CHECK(!child.try_wait());
  SUBCASE("when the kernel watches it") {
    refusal.reset();
    clock.advance(100ms);
    child.input().close();
    loop.run();
  }
  SUBCASE("even if the kernel never does") {
    child.input().close();
    siginfo_t info{};
    ::waitid(P_PID, static_cast<id_t>(child.pid()), &info, WEXITED | WNOWAIT);
    clock.advance(100ms);
    CHECK_FALSE(pauses());
  }
  SUBCASE("also by try_wait") {
    child.input().close();
    siginfo_t info{};
    ::waitid(P_PID, static_cast<id_t>(child.pid()), &info, WEXITED | WNOWAIT);
    CHECK(child.try_wait()->value().code == 7);
    CHECK(loop.count().timers == 0);
    loop.run();
  }
  CHECK(code == 7);
  CHECK(no_child_left());
}

// Programs that cannot be started.

TEST_CASE_FIXTURE(with_loop, "a start that fails names the program, the step and the reason") {
  CHECK(error_of_start(loop, process_options("/nowhere/program")) ==
        "start /nowhere/program: execute the program: No such file or directory");
  CHECK(error_of_start(loop, process_options("")) ==
        "start : execute the program: No such file or directory");
  CHECK(error_of_start(loop, process_options("/dev/null")) ==
        "start /dev/null: execute the program: Permission denied");
  process_options options = shell("true");
  options.directory = "/nowhere";
  CHECK(error_of_start(loop, options) ==
        "start /bin/sh: change the directory to /nowhere: No such file or directory");
  options = shell("true");
  options.input = redirection::read_file("/nowhere");
  CHECK(error_of_start(loop, options) == "start /bin/sh: open /nowhere: No such file or directory");
  options = shell("true");
  options.output = redirection::descriptor(1000);
  CHECK(error_of_start(loop, options) ==
        "start /bin/sh: redirect the standard output: Bad file descriptor");
  for (const int number : {-1, -2}) {
    options = shell("true");
    options.input = redirection::descriptor(number);
    CHECK(error_of_start(loop, options) ==
          "start /bin/sh: redirect the standard input: Bad file descriptor");
  }
  options = shell("true");
  options.output = redirection::write_file(std::string("/dev/null\0x", 11));
  CHECK(error_of_start(loop, options) ==
        "start /bin/sh: open a file whose name contains a zero byte: Invalid argument");
  options = shell("true");
  options.limits = {{RLIMIT_NOFILE, 1, 1}};
  options.output = redirection::null();
  CHECK(error_of_start(loop, options) ==
        "start /bin/sh: redirect the standard output within the given RLIMIT_NOFILE: "
        "Bad file descriptor");
  options = shell("true");
  options.limits = {{1000, 1, 1}};
  CHECK(error_of_start(loop, options) == "start /bin/sh: set a resource limit: Invalid argument");
  options = shell("true");
  options.arguments.emplace_back(std::string("a\0b", 3));
  CHECK(error_of_start(loop, options).ends_with("contains a zero byte: Invalid argument"));
  options = shell("true");
  options.environment = {"BIG=" + std::string(300'000, 'x')};  // MAX_ARG_STRLEN is 128 KiB
  CHECK(error_of_start(loop, options) ==
        "start /bin/sh: execute the program: Argument list too long");
  CHECK(no_child_left());
}

TEST_CASE_FIXTURE(with_loop, "a nice value that the system does not have is an invalid argument") {
  for (const int value : {-21, 20, 1000}) {
    process_options options = shell("true");
    options.nice = value;
    CHECK(error_of_start(loop, options) ==
          "start /bin/sh: set the nice value to " + std::to_string(value) + ": Invalid argument");
  }
  CHECK(no_child_left());
}

TEST_CASE("an unprivileged process is told that it may not change the user or raise a limit") {
  CHECK(holds_in_child([] {
    if (::geteuid() == 0 && (::setgid(12345) != 0 || ::setuid(12345) != 0)) return false;
    event_loop loop;
    process_options options = shell("true");
    options.group = 1;
    if (!error_of_start(loop, options).contains(": set the group: Operation not permitted")) {
      return false;
    }
    options = shell("true");
    options.user = 1;
    if (!error_of_start(loop, options).contains("groups: Operation not permitted")) return false;
    options = shell("true");
    options.nice = -20;
    return error_of_start(loop, options).contains(": set the nice value: ");
  }));
}

TEST_CASE_FIXTURE(with_loop, "a FIFO without a peer does not block the start") {
  const temporary_directory directory;
  const std::string fifo = directory / "fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  process_options options = shell("true");
  options.output = redirection::write_file(fifo);
  CHECK(error_of_start(loop, options).ends_with("No such device or address"));
}

TEST_CASE_FIXTURE(with_loop,
                  "each system call of a start can fail: no child and no descriptor is left") {
  int survived = 0;
  for (const int error : {EMFILE, ENOMEM, EINTR}) {
    for (std::size_t kth = 1;; ++kth) {
      failing_system system;
      system.fail_any(error, kth);
      std::optional<process> child;
      process_options options = shell("exit 0");
      options.input = redirection::pipe();
      options.output = redirection::pipe();
      options.error = redirection::read_file("/dev/null");
      options.terminal = eddy::window_size{};
      std::string words;
      try {
        child.emplace(loop, options);
      } catch (const std::system_error& e) {
        words = e.what();
      }
      if (child) {
        child->wait([](eddy::result<exit_status>) {});
        loop.run();
        child.reset();
        loop.run();
      }
      CHECK((child.has_value() || words.empty() || words.starts_with("start /bin/sh: ")));
      CHECK(no_child_left());
      if (!system.has_failed()) break;
      ++survived;
    }
  }
  MESSAGE(survived, " faults injected and survived");
  CHECK(survived > 30);
}

TEST_CASE_FIXTURE(with_loop, "each system call of a start that fails is named with its reason") {
  const temporary_directory directory;
  const auto words = [&](call failed, std::size_t kth) {
    process_options options = shell("exit 0");
    options.input = redirection::pipe();
    options.output = redirection::write_file(directory / "a");
    options.error = redirection::pipe();
    options.terminal = eddy::window_size{};
    failing_system system;
    system.fail(failed, ENOMEM, kth);
    const std::string all = error_of_start(loop, options);
    CHECK(all.starts_with("start /bin/sh: "));
    CHECK(all.ends_with(": Cannot allocate memory"));
    return all.substr(15, all.size() - 15 - 24);
  };
  CHECK(words(call::open_terminal, 1) == "make a pseudo-terminal");
  CHECK(words(call::set_window, 1) == "set the size of the terminal");
  CHECK(words(call::open_terminal_peer, 1) == "open the pseudo-terminal");
  CHECK(words(call::pipe, 1) == "make a pipe for the standard input");
  CHECK(words(call::pipe, 2) == "make a pipe for the standard error");
  CHECK(words(call::set_non_blocking, 1) == "make non-blocking the pipe for the standard input");
  CHECK(words(call::open, 1) == "open " + directory / "a");
  CHECK(words(call::set_blocking, 1) == "make blocking " + directory / "a");
  CHECK(words(call::map_stack, 1) == "make a stack");
  CHECK(words(call::start_child, 1) == "make a process");
  CHECK(no_child_left());
}

TEST_CASE("a start needs one descriptor besides those of its redirections") {
  CHECK(holds_in_child([] {
    event_loop loop;
    const int next = ::dup(0);
    ::close(next);
    struct rlimit few{};
    ::getrlimit(RLIMIT_NOFILE, &few);
    few.rlim_cur = static_cast<::rlim_t>(next);
    ::setrlimit(RLIMIT_NOFILE, &few);
    if (!error_of_start(loop, shell("true")).contains("make a process: Too many open files")) {
      return false;
    }
    ++few.rlim_cur;
    ::setrlimit(RLIMIT_NOFILE, &few);
    process child(loop, shell("exit 3"));
    std::optional<int> code;
    child.wait([&](eddy::result<exit_status> e) { code = e->code; });
    loop.run();
    return code == 3;
  }));
}

TEST_CASE("misuse of a process stops the program with a sentence") {
  for (const auto stream : {&process_options::input, &process_options::output}) {
    dies_saying("redirection::to_output is only for the standard error", [stream] {
      event_loop loop;
      process_options options = shell("true");
      options.*stream = redirection::to_output();
      const process child(loop, std::move(options));
    });
  }
  dies_saying("a process was used that has no child", [] { static_cast<void>(process().pid()); });
  dies_saying("the standard output of this process is no pipe", [] {
    event_loop loop;
    process child(loop, shell("true"));
    static_cast<void>(child.output());
  });
  dies_saying("a wait is already pending on this process (process ", [] {
    event_loop loop;
    process child(loop, shell("true"));
    child.wait([](eddy::result<exit_status>) {});
    child.wait([](eddy::result<exit_status>) {});
  });
}

// A terminal.

ASYNC_TEST("a child on a pseudo-terminal sees a terminal of the given size, and its new size") {
  process_options options = shell(
      "test -t 0 && test -t 1 && stty size; read line; echo got $line; "
      "stty size");
  options.terminal = eddy::window_size{30, 100};
  process child(loop, std::move(options));
  const std::string first = co_await read_until(child.terminal(), "30 100");
  CHECK(first == "30 100\r\n");
  CHECK(child.terminal().size() == eddy::window_size{30, 100});
  child.terminal().set_size({40, 120});
  co_await child.terminal().write("words\n");
  const std::string rest = co_await read_all(child.terminal());
  CHECK(rest.contains("got words\r\n"));
  CHECK(rest.contains("40 120\r\n"));
  const exit_status end = co_await child.wait();
  CHECK(end.success());
}

ASYNC_TEST("Ctrl-C on the terminal interrupts the child, which leads its session") {
  process_options options = shell(
      "trap 'echo interrupted; exit 0' INT; echo ready; "
      "while :; do sleep 0.01; done");
  options.terminal = eddy::window_size{};
  process child(loop, std::move(options));
  const std::string ready = co_await read_until(child.terminal(), "ready");
  CHECK(ready.contains("ready"));
  co_await child.terminal().write("\x03");
  const std::string rest = co_await read_all(child.terminal());
  CHECK(rest.contains("interrupted"));
  const exit_status end = co_await child.wait();
  CHECK(end.code == 0);
}

// Beside other code.

TEST_CASE_FIXTURE(with_loop, "system() and eddy's children do not take each other's statuses") {
  std::vector<std::unique_ptr<process>> children;
  int right = 0;
  for (int i = 0; i < 20; ++i) {
    children.push_back(std::make_unique<process>(loop, shell("exit " + std::to_string(i))));
    children.back()->wait(
        [&right, i](eddy::result<exit_status> e) { right += e->code == i ? 1 : 0; });
    CHECK(WEXITSTATUS(std::system("exit 9")) == 9);
    loop.run_ready();
  }
  loop.run();
  CHECK(right == 20);
}

TEST_CASE_FIXTURE(tidy,
                  "on libev's default loop, wait gets the code of a child that libev has reaped") {
  struct ev_loop* const libevs = ::ev_default_loop(EVBACKEND_EPOLL);
  {
    event_loop loop(libevs);
    std::vector<std::unique_ptr<process>> children;
    int right = 0;
    for (int i = 0; i < 20; ++i) {
      children.push_back(std::make_unique<process>(loop, shell("exit " + std::to_string(i))));
      children.back()->wait(
          [&right, i](eddy::result<exit_status> e) { right += e && e->code == i ? 1 : 0; });
    }
    loop.run();
    CHECK(right == 20);
  }
  ::ev_loop_destroy(libevs);
}

TEST_CASE("where SIGCHLD is ignored, wait fails with no_child_process") {
  CHECK(holds_in_child([] {
    std::signal(SIGCHLD, SIG_IGN);
    event_loop loop;
    process child(loop, shell("exit 0"));
    std::error_code error;
    child.wait([&](eddy::result<exit_status> e) { error = e.error(); });
    loop.run();
    return error == std::errc::no_child_process;
  }));
}

TEST_SUITE("threads") {
  TEST_CASE_FIXTURE(tidy, "processes are started beside threads that allocate and set signals") {
    std::atomic<bool> stop{false};
    std::thread busy([&] {
      while (!stop) {
        std::string s(1000, 'x');
        ::setenv("EDDY_BUSY", "x", 1);
      }
    });
    {
      event_loop loop;
      for (int i = 0; i < 50; ++i) {
        process_options options = shell("exit 0");
        options.inherit_environment = false;
        process child(loop, std::move(options));
        child.wait([](eddy::result<exit_status> e) { CHECK(e->success()); });
        loop.run();
      }
    }
    stop = true;
    busy.join();
    ::unsetenv("EDDY_BUSY");
  }
}

TEST_CASE_FIXTURE(with_loop, "10,000 children, half of them killed, end with the right statuses") {
  constexpr int all = SANITIZED ? 1'000 : 10'000;
  constexpr int at_once = 100;
  int right = 0;
  int started = 0;
  struct runner {
    event_loop& loop;
    int& right;
    int& started;
    std::unique_ptr<process> child;
    void next() {
      if (started == all) return child.reset();
      const int number = started++;
      const bool kill = number % 2 == 0;
      child = kill ? std::make_unique<process>(loop, process_options("/bin/sleep", {"600"}))
                   : std::make_unique<process>(loop, process_options("/bin/false"));
      if (kill) child->signal(number % 4 == 0 ? SIGKILL : SIGTERM);
      child->wait([this, number, kill](eddy::result<exit_status> e) {
        const bool good = kill ? e->signal == (number % 4 == 0 ? SIGKILL : SIGTERM) : e->code == 1;
        right += good ? 1 : 0;
        next();
      });
    }
  };
  std::vector<std::unique_ptr<runner>> runners;
  for (int i = 0; i < at_once; ++i) {
    runners.push_back(std::make_unique<runner>(loop, right, started, nullptr));
    runners.back()->next();
  }
  loop.run();
  CHECK(right == all);
  CHECK(no_child_left());
}
