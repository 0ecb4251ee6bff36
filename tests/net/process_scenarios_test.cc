// SPDX-License-Identifier: BSD-2-Clause
// Every operation on a process, ended in every way at every point.
#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include <doctest/doctest.h>
#include <sys/wait.h>

#include <eddy/future/promise.h>
#include <eddy/net/process.h>
#include <eddy/net/run.h>

#include "support/every_point.h"

using namespace std::chrono_literals;
using eddy::exit_status;
using eddy::process;
using eddy::process_options;
using eddy::redirection;
using eddy::run_result;
using eddy::task;
using eddy::trial;

namespace {

/// The children of a cancelled scenario end on the loop. Whatever was done, none is left.
struct with_children {
  explicit with_children(trial& t) : of(t) {}
  std::string check(bool) {
    of.loop().run();
    const bool none = ::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD;
    return none ? "" : "a child is left";
  }
  trial& of;
};

process_options shell(std::string command) {
  process_options options("/bin/sh", {"-c", std::move(command)});
  options.grace = 0s;
  return options;
}

struct waits : with_children {
  using with_children::with_children;
  task<> work() {
    const trial::part held(of);
    process child(of.loop(), shell("exit 3"));
    const exit_status end = co_await child.wait();
    CHECK(end.code == 3);
  }
};

struct terminates : with_children {
  using with_children::with_children;
  task<> work() {
    const trial::part held(of);
    process child(of.loop(), process_options("/bin/sleep", {"60"}));
    child.terminate(5s);
    const exit_status end = co_await child.wait();
    CHECK(end.signal.has_value());
  }
};

struct waits_with_handler : with_children {
  using with_children::with_children;
  task<> work() {
    const trial::part held(of);
    process child(of.loop(), shell("exit 3"));
    eddy::promise<int> ended;
    child.wait([this, &ended](eddy::result<exit_status> end) {
      of.runs();
      ended.set_value(*end->code);
    });
    const int code = co_await ended.get_future();
    CHECK(code == 3);
  }
};

struct runs : with_children {
  using with_children::with_children;
  task<> work() {
    const trial::part held(of);
    auto running = eddy::run(shell("cat; echo err >&2"), "input");
    const run_result r = co_await std::move(running);
    CHECK(r.output == "input");
    CHECK(r.error == "err\n");
  }
};

struct talks_on_a_terminal : with_children {
  using with_children::with_children;
  task<> work() {
    const trial::part held(of);
    process_options options = shell("read line; echo got $line");
    options.terminal = eddy::window_size{};
    process child(of.loop(), std::move(options));
    co_await child.terminal().write("x\n");
    std::string all;
    std::array<char, 100> buffer;
    for (;;) {
      const std::size_t n = co_await child.terminal().read(buffer);
      if (n == 0) break;
      all.append(buffer.data(), n);
    }
    CHECK(all.contains("got x"));
    const exit_status end = co_await child.wait();
    CHECK(end.success());
  }
};

}  // namespace

SCENARIO_OBJECT_TEST(waits, "a wait for a process ends cleanly at every point")
SCENARIO_OBJECT_TEST(waits_with_handler, "a wait with a handler ends cleanly at every point")
SCENARIO_OBJECT_TEST(terminates, "a terminated process ends cleanly at every point")
SCENARIO_OBJECT_TEST(runs, "run ends cleanly at every point")
SCENARIO_OBJECT_TEST(talks_on_a_terminal, "a terminal's read and write end cleanly at every point")
