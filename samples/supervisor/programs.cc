// SPDX-License-Identifier: BSD-2-Clause
#include "programs.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <system_error>
#include <utility>

namespace {

/// How long a program may take to end after SIGTERM.
constexpr std::chrono::seconds grace(5);

[[noreturn]] void usage() {
  std::fprintf(stderr, "usage: supervisor CONFIGURATION [SOCKET [SECONDS]]\n");
  std::exit(2);
}

}  // namespace

arguments::arguments(int argc, char** argv) {
  if (argc < 2 || argc > 4) usage();
  configuration = argv[1];
  if (argc > 2) control = eddy::unix_address(argv[2]);
  if (argc > 3) {
    const std::string_view seconds = argv[3];
    int count = 0;
    const auto [end, error] =
        std::from_chars(seconds.data(), seconds.data() + seconds.size(), count);
    if (error != std::errc() || end != seconds.data() + seconds.size() || count < 1) usage();
    client_limit = std::chrono::seconds(count);
  }
}

eddy::unix_listener::options control_options() {
  eddy::unix_listener::options how;
  how.replace_stale = true;
  how.permissions = 0600;
  return how;
}

std::optional<std::map<std::string, std::string>> read_configuration(const std::string& path) {
  std::ifstream in(path);
  std::map<std::string, std::string> commands;
  for (std::string line; std::getline(in, line);) {
    const std::size_t space = line.find(' ');
    if (space == std::string::npos || line.starts_with('#')) continue;
    commands[line.substr(0, space)] = line.substr(space + 1);
  }
  if (in.eof()) return commands;
  print_error("supervisor: cannot read %s", path.c_str());
  return std::nullopt;
}

eddy::process_options run_by_shell(const std::string& command) {
  eddy::process_options options("/bin/sh", {"-c", command});
  options.input = eddy::redirection::null();
  options.output = eddy::redirection::pipe();
  options.error = eddy::redirection::to_output();
  options.place = eddy::process_options::group_of_its_own;
  options.grace = grace;
  return options;
}

std::chrono::milliseconds back_off::next(eddy::time_point now) {
  if (now - begun_ >= steady) reset();
  return std::exchange(delay_, std::min(2 * delay_, longest_delay));
}

std::string program_status::in_words() const {
  const std::string times = ", started " + std::to_string(starts) + " times";
  switch (now) {
    case state::running: return "runs as process " + std::to_string(pid) + times;
    case state::ending: return "ends as process " + std::to_string(pid) + times;
    case state::waiting: return "waits for its next start" + times;
    case state::stopped: break;
  }
  return "is stopped" + times;
}

std::string in_words(const eddy::exit_status& end) {
  if (end.signal) return "ended by signal " + std::to_string(*end.signal);
  return "ended with exit code " + std::to_string(*end.code);
}

void print_started(const std::string& name, const program_status& status) {
  print_line("%s: started as process %d", name.c_str(), static_cast<int>(status.pid));
}

void print_restart(const std::string& name, const std::string& how,
                   std::chrono::milliseconds delay) {
  print_line("%s: %s; starts again in %lld ms", name.c_str(), how.c_str(),
             static_cast<long long>(delay.count()));
}

void print_end(const std::string& name, const std::string& how) {
  print_line("%s: %s; stays stopped", name.c_str(), how.c_str());
}

void line_printer::add(std::string_view bytes) {
  for (const char c : bytes) {
    if (c != '\n') line_ += c;
    if (c == '\n' || line_.size() == longest_line) print();
  }
}

void line_printer::end() {
  if (!line_.empty()) print();
}

void line_printer::print() {
  print_line("%s: %s", name_.c_str(), line_.c_str());
  line_.clear();
}
