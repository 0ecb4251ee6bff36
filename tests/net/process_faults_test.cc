// SPDX-License-Identifier: BSD-2-Clause
// Every system call of processes and signals, with each of its errors.
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <doctest/doctest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include <eddy/future/join.h>
#include <eddy/future/sleep.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/net/process.h>
#include <eddy/net/pseudo_terminal.h>
#include <eddy/net/run.h>
#include <eddy/net/signal_queue.h>

#include "support/fault_scenario.h"
#include "support/faults.h"

using namespace std::chrono_literals;
using namespace std::string_view_literals;
using eddy::join;
using eddy::task;
using eddy::timeout;

namespace {

/// A scenario with child processes, of which none may be left.
struct with_children : scenario {
  using scenario::scenario;
  static std::string left() {
    const bool none = ::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD;
    return none ? "" : "a child is left";
  }
  static constexpr std::size_t shapes = 1;
  static constexpr std::size_t patience = 200'000;
};

struct runs_cat : with_children {
  explicit runs_cat(faulty_run& r) : with_children(r), all(r.bytes(r.any(2, 5'000))) {}
  task<> work() {
    heard.clear();
    eddy::process_options options("/bin/cat");
    options.input = eddy::redirection::pipe();
    options.output = eddy::redirection::pipe();
    options.error = eddy::redirection::null();
    options.grace = 0s;
    eddy::process child(run.loop, options);
    auto both = join(feed(child), hear(child.output(), heard, 2'000));
    co_await std::move(both);
    const eddy::exit_status end = co_await child.wait();
    run.expect(run.told || end.success(), "the child failed");
  }
  task<> feed(eddy::process& child) {
    co_await child.input().write(all);
    child.input().close();
  }
  void check() { run.expect_bytes(all, heard); }
  std::string all;
  std::string heard;
};

struct runs_to_the_end : with_children {
  explicit runs_to_the_end(faulty_run& r) : with_children(r), all(r.bytes(r.any(2, 5'000))) {}
  task<> work() {
    eddy::process_options options("/bin/sh", {"-c", "cat; echo err >&2"});
    options.grace = 0s;
    auto running = eddy::run(std::move(options), all);
    const eddy::run_result r = co_await std::move(running);
    // A child that does not read its whole input is no error.
    if (r.output != all) run.tell(std::make_error_code(std::errc::broken_pipe));
    run.expect(all.starts_with(r.output), "the child read other bytes");
    run.expect(r.error == "err\n" && r.status.success(), "the error is not whole");
  }
  task<> again() {
    auto whole = work();
    co_await std::move(whole);
  }
  std::string all;
};

struct ends_a_child : with_children {
  using with_children::with_children;
  task<> work() {
    // If no signal can be sent, it ends by itself.
    eddy::process_options options("/bin/sleep", {"0.05"});
    options.place = eddy::process_options::group_of_its_own;
    eddy::process child(run.loop, options);
    const std::error_code refused = signal(child);
    if (refused) run.tell(refused);
    child.terminate(1s);
    const eddy::exit_status end = co_await child.wait();
    if (!end.signal) run.tell(std::make_error_code(std::errc::no_such_process));
  }
  static std::error_code signal(eddy::process& child) {
    try {
      static_cast<void>(child.signal(SIGCONT));
      return {};
    } catch (const std::system_error& e) {
      return e.code();
    }
  }
  task<> again() {
    auto whole = work();
    co_await std::move(whole);
  }
};

struct talks_to_a_terminal : with_children {
  using with_children::with_children;
  task<> work() {
    eddy::process_options options("/bin/sh", {"-c", "read line; echo got $line"});
    options.terminal = eddy::window_size{.rows = 10, .columns = 20};
    options.grace = 0s;
    eddy::process child(run.loop, std::move(options));
    run.expect(child.terminal().size().rows == 10, "a terminal has another size");
    co_await child.terminal().write("word\n"sv);
    std::string heard;
    auto hearing = hear(child.terminal(), heard, 100);
    co_await std::move(hearing);
    run.expect(heard.contains("got word"), "the terminal's output is not whole");
    const eddy::exit_status end = co_await child.wait();
    run.expect(end.success(), "the child failed");
  }
  task<> again() {
    auto whole = work();
    co_await std::move(whole);
  }
  // This error is the end of a terminal.
  static bool possible(call kind, int error) { return kind != call::read || error != EIO; }
};

/// Receives signals that were sent to this thread.
struct receives_signals : numbered {
  explicit receives_signals(faulty_run& r) : numbered(r) {
    ::sigemptyset(&mask);
    ::sigaddset(&mask, SIGRTMIN);
    ::pthread_sigmask(SIG_BLOCK, &mask, &mask_before);
  }
  ~receives_signals() {
    take_all();
    ::pthread_sigmask(SIG_SETMASK, &mask_before, nullptr);
  }
  void take_all() const {
    const timespec none{};
    while (::sigtimedwait(&mask, nullptr, &none) > 0) {
    }
  }
  task<> work() {
    take_all();
    received = 0;
    eddy::signal_queue queue(run.loop, {SIGRTMIN});
    auto both = join(send_all(), receive(queue));
    auto limited = timeout(client_patience, std::move(both));
    co_await std::move(limited);
  }
  task<> send_all() {
    for (std::size_t i = 0; i < count; ++i) {
      sigval v{};
      v.sival_int = static_cast<int>(i);
      ::pthread_sigqueue(::pthread_self(), SIGRTMIN, v);
      if (i % 2 == 0) co_await eddy::sleep(1ms);
    }
  }
  task<> receive(eddy::signal_queue& queue) {
    while (received < count) {
      const eddy::signal_info got = co_await queue.receive();
      came(word(static_cast<std::size_t>(got.value)));
    }
  }
  sigset_t mask{};
  sigset_t mask_before{};
  static constexpr std::size_t shapes = 8;
};

}  // namespace

FAULTS_TEST(runs_cat, "a process with pipes survives every fault")
FAULTS_TEST(runs_to_the_end, "run survives every fault")
FAULTS_TEST(ends_a_child, "ending a process survives every fault")
FAULTS_TEST(talks_to_a_terminal, "a process on a terminal survives every fault")
FAULTS_TEST(receives_signals, "a queue of signals survives every fault")

FAULTS_TOTAL(5, 2'500, "the scenarios of processes and signals survive 2,500 faults")
