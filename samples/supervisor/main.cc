// SPDX-License-Identifier: BSD-2-Clause
//
// Keeps programs running. Each line of the configuration is a name and a shell command. A program
// that ends is started again, after a delay that doubles each time. Lines that the programs print
// come out with their names in front. SIGHUP has the configuration read again: programs whose
// line is unchanged run on. SIGTERM and SIGINT end all programs, and then the supervisor.
//
//   printf 'clock while sleep 1; do date; done\nbad exit 1\n' >programs
//   ./samples/run supervisor programs

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include <signal.h>

#include <eddy/future/as_result.h>
#include <eddy/future/future.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/signal.h>
#include <eddy/net/process.h>

#include "../daemon/daemon.h"

namespace {

using namespace std::chrono_literals;

constexpr std::chrono::milliseconds first_delay = 100ms;
constexpr std::chrono::milliseconds longest_delay = 10s;
/// A program that ran for this long starts again after the first delay.
constexpr std::chrono::seconds steady = 10s;
/// How long a program may take to end after SIGTERM.
constexpr std::chrono::seconds grace = 5s;
/// Longer lines are printed in pieces.
constexpr std::size_t longest_line = 1000;

class line_printer {
public:
  explicit line_printer(std::string name) : name_(std::move(name)) {}
  ~line_printer() {
    if (!line_.empty()) print();
  }
  line_printer(const line_printer&) = delete;
  line_printer& operator=(const line_printer&) = delete;

  void add(std::string_view bytes) {
    for (const char c : bytes) {
      if (c != '\n') line_ += c;
      if (c == '\n' || line_.size() == longest_line) print();
    }
  }

private:
  void print() {
    print_line("%s: %s", name_.c_str(), line_.c_str());
    line_.clear();
  }

  std::string name_;
  std::string line_;
};

eddy::task<> print_output(std::string name, eddy::pipe_reader& from) {
  line_printer lines(std::move(name));
  std::array<char, 4096> buffer;
  for (;;) {
    const std::size_t n = co_await from.read(buffer);
    if (n == 0) break;
    lines.add({buffer.data(), n});
  }
}

std::string in_words(const eddy::exit_status& end) {
  if (end.signal) return "ended by signal " + std::to_string(*end.signal);
  return "ended with exit code " + std::to_string(*end.code);
}

/// Runs a program to its end, and says how it ended.
eddy::task<std::string> run_once(eddy::event_loop& loop, std::string name, std::string command) {
  eddy::process_options options("/bin/sh", {"-c", std::move(command)});
  options.input = eddy::redirection::null();
  options.output = eddy::redirection::pipe();
  options.error = eddy::redirection::to_output();
  options.place = eddy::process_options::group_of_its_own;
  options.grace = grace;
  eddy::process child(loop, std::move(options));
  print_line("%s: started as process %d", name.c_str(), static_cast<int>(child.pid()));
  auto printing = eddy::spawn(loop, print_output(std::move(name), child.output()));
  const eddy::exit_status end = co_await child.wait();
  // Something that the program left behind may keep the pipe open.
  auto rest = eddy::timeout(1s, std::move(printing));
  static_cast<void>(co_await eddy::as_result(std::move(rest)));
  co_return in_words(end);
}

eddy::task<> keep_running(eddy::event_loop& loop, std::string name, std::string command) {
  std::chrono::milliseconds delay = first_delay;
  for (;;) {
    const auto begun = loop.now();
    std::string how;
    try {
      how = co_await run_once(loop, name, command);
    } catch (const std::exception& e) {
      how = e.what();
    }
    if (loop.now() - begun >= steady) delay = first_delay;
    print_line("%s: %s; starts again in %lld ms", name.c_str(), how.c_str(),
               static_cast<long long>(delay.count()));
    co_await eddy::sleep(delay);
    delay = std::min(2 * delay, longest_delay);
  }
}

class supervisor {
public:
  supervisor(eddy::event_loop& loop, std::string path)
      : loop_(loop),
        path_(std::move(path)),
        reload_(loop, SIGHUP),
        terminate_(loop, SIGTERM),
        interrupt_(loop, SIGINT) {
    load();
    reload_.start([this] { load(); });
    terminate_.start([this] { stop(); });
    interrupt_.start([this] { stop(); });
  }

private:
  struct program {
    std::string command;
    eddy::future<> running;
  };

  /// Reads the configuration, ends the programs that are not in it any more, and starts the others.
  void load() {
    std::ifstream in(path_);
    std::map<std::string, std::string> wanted;
    for (std::string line; std::getline(in, line);) {
      const std::size_t space = line.find(' ');
      if (space == std::string::npos || line.starts_with('#')) continue;
      wanted[line.substr(0, space)] = line.substr(space + 1);
    }
    if (!in.eof()) return print_error("supervisor: cannot read %s", path_.c_str());
    std::erase_if(programs_, [&](const auto& entry) {
      const auto found = wanted.find(entry.first);
      const bool stays = found != wanted.end() && found->second == entry.second.command;
      if (!stays) print_line("%s: stopped", entry.first.c_str());
      return !stays;  // which ends the program
    });
    for (const auto& [name, command] : wanted) {
      if (programs_.contains(name)) continue;
      auto running = eddy::spawn(loop_, keep_running(loop_, name, command));
      programs_.emplace(name, program{command, std::move(running)});
    }
    print_line("ready %zu", programs_.size());
  }

  /// Ends all programs. The loop runs until the last has ended.
  void stop() {
    print_line("stopping");
    reload_.stop();
    terminate_.stop();
    interrupt_.stop();
    programs_.clear();
  }

  eddy::event_loop& loop_;
  std::string path_;
  std::map<std::string, program> programs_;
  eddy::signal reload_;
  eddy::signal terminate_;
  eddy::signal interrupt_;
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::fprintf(stderr, "usage: supervisor CONFIGURATION\n");
    return 2;
  }
  prepare_process();
  eddy::event_loop loop;
  const supervisor all(loop, argv[1]);
  loop.run();
  print_line("ended");
} catch (const std::exception& e) {
  print_error("supervisor: %s", e.what());
  return 1;
}
