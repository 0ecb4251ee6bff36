// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/run.h>.
#include <eddy/net/run.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <string>
#include <system_error>
#include <utility>

#include <doctest/doctest.h>
#include <sys/wait.h>

#include <eddy/future/as_result.h>
#include <eddy/future/timeout.h>

#include "support/async_test.h"
#include "support/failing_system.h"
#include "support/forked.h"
#include "support/shell.h"

using namespace std::chrono_literals;
using eddy::as_result;
using eddy::process_options;
using eddy::redirection;
using eddy::run_result;
using eddy::task;

ASYNC_TEST("run returns the status, the output and the error of a program") {
  auto running = eddy::run(shell("echo out; echo err >&2; exit 3"));
  const run_result r = co_await std::move(running);
  CHECK(r.status.code == 3);
  CHECK(r.output == "out\n");
  CHECK(r.error == "err\n");
  CHECK(!r.truncated);
}

ASYNC_TEST("run feeds the input, of more bytes than a pipe holds") {
  const std::string input(500'000, 'i');
  auto running = eddy::run(process_options("/bin/cat"), input);
  const run_result r = co_await std::move(running);
  CHECK(r.output == input);
}

ASYNC_TEST("a program that does not read its input is no error") {
  auto running = eddy::run(shell("exec <&-; echo done"), std::string(500'000, 'i'));
  const run_result r = co_await std::move(running);
  CHECK(r.output == "done\n");
}

ASYNC_TEST("run keeps no more than the limit, and reads the rest") {
  auto running = eddy::run(shell("head -c 300000 /dev/zero; echo err >&2"), {}, 1000);
  const run_result r = co_await std::move(running);
  CHECK(r.output.size() == 1000);
  CHECK(r.error == "err\n");
  CHECK(r.truncated);
  CHECK(r.status.success());
  auto exactly = eddy::run(shell("head -c 1000 /dev/zero"), {}, 1000);
  const run_result whole = co_await std::move(exactly);
  CHECK(!whole.truncated);
}

ASYNC_TEST("run leaves what its options redirect alone, and can merge the error") {
  process_options options = shell("echo out; echo err >&2");
  options.error = redirection::to_output();
  auto merged = eddy::run(options);
  const run_result r = co_await std::move(merged);
  CHECK(r.output == "out\nerr\n");
  CHECK(r.error.empty());
  options.output = redirection::null();
  auto nothing = eddy::run(options);
  const run_result none = co_await std::move(nothing);
  CHECK(none.output.empty());
}

ASYNC_TEST("a program that can't be started is an error with the program and the step") {
  std::string words;
  try {
    auto running = eddy::run(process_options("/nowhere/program"));
    co_await std::move(running);
  } catch (const std::system_error& e) {
    words = e.what();
  }
  CHECK(words == "start /nowhere/program: execute the program: No such file or directory");
  auto again = eddy::run(process_options("/nowhere/program"));
  const auto r = co_await as_result(std::move(again));
  CHECK(r.error() == std::errc::no_such_file_or_directory);
}

TEST_CASE_FIXTURE(with_loop, "run with a handler calls it with the result or the error") {
  std::string output;
  auto first = eddy::run(loop, shell("cat"), "input", 100, [&](eddy::result<run_result> r) {
    if (r) output = r->output;
  });
  std::error_code error;
  auto second = eddy::run(loop, process_options("/nowhere/program"),
                          [&](eddy::result<run_result> r) { error = r.error(); });
  CHECK(first.active());
  loop.run();
  CHECK(output == "input");
  CHECK(error == std::errc::no_such_file_or_directory);
}

TEST_CASE_FIXTURE(with_loop,
                  "destroying the operation ends the program, and its handler is not called") {
  bool ran = false;
  auto running = eddy::run(loop, process_options("/bin/sleep", {"60"}),
                           [&](eddy::result<run_result>) { ran = true; });
  loop.run_ready();
  running.stop();
  loop.run();
  CHECK(!ran);
  CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
}

TEST_CASE_FIXTURE(with_jumping_loop, "a timeout on run ends a program that does not end") {
  auto work = [](eddy::event_loop&) -> task<std::error_code> {
    auto limited = eddy::timeout(5s, eddy::run(process_options("/bin/sleep", {"60"})));
    const auto r = co_await as_result(std::move(limited));
    co_return r.error();
  };
  CHECK(eddy::block_on(loop, work(loop)) == std::errc::timed_out);
  loop.run();
  CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
}

TEST_CASE("run with a pseudo-terminal stops the program with a sentence") {
  dies_saying("run was given a pseudo-terminal", [] {
    eddy::event_loop loop;
    process_options options = shell("true");
    options.terminal = eddy::window_size{};
    auto running = eddy::run(loop, std::move(options), [](eddy::result<run_result>) {});
    loop.run();
  });
}

TEST_CASE_FIXTURE(tidy, "each system call of run can fail: the result is right or an error") {
  int survived = 0;
  for (const int error : {EMFILE, EIO, EINTR}) {
    for (std::size_t kth = 1;; ++kth) {
      eddy::event_loop loop;
      failing_system system;
      system.fail_any(error, kth);
      bool ended = false;
      auto running = eddy::run(loop, shell("cat; echo err >&2"), std::string(10'000, 'i'), 100'000,
                               [&](eddy::result<run_result> r) {
                                 ended = true;
                                 CHECK((!r || r->output.size() == 10'000));
                                 CHECK((r || r.error().value() == error));
                               });
      loop.run();
      CHECK(ended);
      CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
      if (!system.has_failed()) break;
      ++survived;
    }
  }
  MESSAGE(survived, " faults injected and survived");
  CHECK(survived > 40);
}
