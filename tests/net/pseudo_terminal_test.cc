// SPDX-License-Identifier: BSD-2-Clause
// Tests of <eddy/net/pseudo_terminal.h>.
#include <eddy/net/pseudo_terminal.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <system_error>

#include <doctest/doctest.h>

#include <eddy/net/process.h>

#include "support/failing_system.h"
#include "support/forked.h"
#include "support/shell.h"
#include "support/tidy.h"

using eddy::process;
using eddy::process_options;
using eddy::pseudo_terminal;

namespace {

process_options on_terminal(std::string command) {
  process_options options = shell(std::move(command));
  options.terminal = eddy::window_size{25, 90};
  return options;
}

}  // namespace

TEST_CASE_FIXTURE(with_loop, "the handlers of a terminal get what the child prints, and the end") {
  process child(loop, on_terminal("read line; echo got $line"));
  std::array<char, 1000> buffer{};
  std::string all;
  struct reader {
    pseudo_terminal& from;
    std::array<char, 1000>& into;
    std::string& all;
    bool ended = false;
    void go() {
      from.read(into, [this](eddy::result<std::size_t> n) {
        all.append(into.data(), *n);
        if (*n != 0) return go();
        ended = true;
      });
    }
  } r{child.terminal(), buffer, all};
  r.go();
  child.terminal().write("word\n", [](eddy::result<void> w) { CHECK(w); });
  loop.run();
  CHECK(r.ended);
  CHECK(all.contains("got word\r\n"));
  CHECK(**child.terminal().try_read(buffer) == 0);
  while (child.running()) loop.run_ready();
}

TEST_CASE_FIXTURE(with_loop, "try_read and try_write on a terminal never wait") {
  process child(loop, on_terminal("read line; read line"));
  std::array<char, 100> buffer{};
  CHECK(!child.terminal().try_read(buffer));
  CHECK(**child.terminal().try_write("a\n") == 2);
  // The kernel passes the echo on from a thread of its own.
  auto echo = child.terminal().try_read(buffer);
  while (!echo) echo = child.terminal().try_read(buffer);
  CHECK(std::string(buffer.data(), **echo) == "a\r\n");
  child.terminal().close();  // SIGHUP ends the child
  std::optional<int> signal;
  child.wait([&](eddy::result<eddy::exit_status> end) { signal = end->signal; });
  loop.run();
  CHECK(signal == SIGHUP);
}

TEST_CASE_FIXTURE(with_loop, "a terminal writes several buffers, and tells when it can be read") {
  process child(loop, on_terminal("stty -echo; echo ready; read line; echo got $line"));
  pseudo_terminal& terminal = child.terminal();
  std::array<char, 100> buffer{};
  bool readable = false;
  terminal.wait_readable([&](eddy::result<void> r) { readable = r.has_value(); });
  loop.run();
  CHECK(readable);
  std::string all(buffer.data(), **terminal.try_read(buffer));
  CHECK(all.starts_with("ready"));
  const std::array<eddy::const_buffer, 3> parts{"one", " two", "\n"};
  bool written = false;
  terminal.write(std::span(parts), [&](eddy::result<void> r) { written = r.has_value(); });
  loop.run();
  CHECK(written);
  bool called = false;
  terminal.read(buffer, [&](eddy::result<std::size_t>) { called = true; });
  terminal.stop_reading();
  terminal.wait_writable([&](eddy::result<void>) { called = true; });
  terminal.stop_writing();
  loop.run();
  CHECK(!called);
  while (!all.ends_with("got one two\r\n")) {
    terminal.read(buffer, [&](eddy::result<std::size_t> n) { all.append(buffer.data(), *n); });
    loop.run();
  }
  while (child.running()) loop.run_ready();
}

TEST_CASE_FIXTURE(with_loop, "an error of a terminal's call is told, and no child is left") {
  for (const call kind : {call::open_terminal, call::set_window, call::open_terminal_peer}) {
    failing_system system;
    system.fail(kind, EPERM);
    CHECK_THROWS_AS(process(loop, on_terminal("true")), std::system_error);
  }
  failing_system system;
  process child(loop, on_terminal("read line"));
  system.fail(call::get_window, EIO);
  CHECK_THROWS_AS(static_cast<void>(child.terminal().size()), std::system_error);
  system.fail(call::set_window, EIO);
  CHECK_THROWS_AS(child.terminal().set_size({1, 1}), std::system_error);
  CHECK(child.terminal().size() == eddy::window_size{25, 90});
  child.terminate(std::chrono::seconds(0));
  while (child.running()) loop.run_once();
}

TEST_CASE("misuse of a terminal stops the program with a sentence") {
  dies_saying("a pseudo_terminal was used that is not open",
              [] { static_cast<void>(pseudo_terminal().size()); });
  dies_saying("this process has no pseudo-terminal", [] {
    eddy::event_loop loop;
    process child(loop, process_options("/bin/true"));
    static_cast<void>(child.terminal());
  });
}
