// SPDX-License-Identifier: BSD-2-Clause
//
// The parts that both forms of the supervisor share: the command line, the configuration, the set
// of programs, the lines that are printed, and the words of the control socket.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <sys/types.h>

#include <eddy/loop/clock.h>
#include <eddy/loop/event_loop.h>
#include <eddy/net/process.h>
#include <eddy/net/unix_address.h>
#include <eddy/net/unix_listener.h>

#include "../daemon/daemon.h"

inline constexpr std::chrono::milliseconds first_delay(100);
inline constexpr std::chrono::milliseconds longest_delay(10'000);
/// A program that ran for this long starts again after the first delay.
inline constexpr std::chrono::seconds steady(10);
/// How long the output of a program may stay open when the program has ended: another program that
/// it left behind may have it.
inline constexpr std::chrono::seconds rest_of_output(1);
/// Longer lines of a program are printed in pieces.
inline constexpr std::size_t longest_line = 1000;
/// A client of the control socket that sends a longer line is sent away.
inline constexpr std::size_t longest_command = 256;
/// Further clients are sent away.
inline constexpr std::size_t most_clients = 16;
/// The answer to a client who is one too many.
inline constexpr std::string_view too_many_clients = "error: there are too many clients\n";
/// The answer to a line that is too long.
inline constexpr std::string_view too_long = "error: the line is too long\n";
/// How long the supervisor waits after a client that it could not take.
inline constexpr std::chrono::milliseconds client_pause(100);

struct arguments {
  /// Reads `CONFIGURATION [SOCKET [SECONDS]]`. Ends the program if that is wrong.
  arguments(int argc, char** argv);

  std::string configuration;
  std::optional<eddy::unix_address> control;  // where to listen
  /// How long a client may take to send its next line, and to take an answer.
  std::chrono::seconds client_limit{30};
};

/// The control socket: only this user may connect.
[[nodiscard]] eddy::unix_listener::options control_options();

/// The commands of the configuration by their names. Prints an error if the file cannot be read.
[[nodiscard]] std::optional<std::map<std::string, std::string>> read_configuration(
    const std::string& path);

/// How to run a command.
[[nodiscard]] eddy::process_options run_by_shell(const std::string& command);

/// The delay after which a program starts again: it doubles each time.
class back_off {
public:
  void begin(eddy::time_point now) { begun_ = now; }
  /// The delay of a program that has ended.
  [[nodiscard]] std::chrono::milliseconds next(eddy::time_point now);
  void reset() { delay_ = first_delay; }

private:
  std::chrono::milliseconds delay_ = first_delay;
  eddy::time_point begun_;
};

/// The state of a program, as the control socket tells it.
struct program_status {
  enum class state : std::uint8_t { running, waiting, ending, stopped };

  state now = state::waiting;
  ::pid_t pid = 0;
  unsigned long starts = 0;

  [[nodiscard]] std::string in_words() const;
};

[[nodiscard]] std::string in_words(const eddy::exit_status& end);

// The lines about a program.

void print_started(const std::string& name, const program_status& status);
void print_restart(const std::string& name, const std::string& how,
                   std::chrono::milliseconds delay);
void print_end(const std::string& name, const std::string& how);

/// Prints what a program writes, line by line, with its name in front.
class line_printer {
public:
  explicit line_printer(std::string name) : name_(std::move(name)) {}
  ~line_printer() { end(); }
  line_printer(const line_printer&) = delete;
  line_printer& operator=(const line_printer&) = delete;

  void add(std::string_view bytes);
  /// Prints a line that is not whole.
  void end();

private:
  void print();

  std::string name_;
  std::string line_;
};

/// The programs of the configuration by their names.
///
/// A `Program` is made of the loop, its name and its command. It has `command`, `status`, `restart`
/// and `stop`, and its destructor ends it.
template <class Program>
class program_set {
public:
  program_set(eddy::event_loop& loop, std::string configuration)
      : loop_(loop), configuration_(std::move(configuration)) {}

  /// Reads the configuration, ends the programs that are not in it any more, and starts the new
  /// ones. Returns whether it can be read.
  bool load();
  /// Ends all programs.
  void clear() { programs_.clear(); }

  /// Carries out one line of the control socket and returns the answer, whose last line is `ok` or
  /// begins with `error:`.
  std::string answer(std::string_view line);

private:
  eddy::event_loop& loop_;
  std::string configuration_;
  std::map<std::string, Program> programs_;
};

template <class Program>
bool program_set<Program>::load() {
  const auto wanted = read_configuration(configuration_);
  if (!wanted) return false;
  std::erase_if(programs_, [&](const auto& entry) {
    const auto found = wanted->find(entry.first);
    const bool stays = found != wanted->end() && found->second == entry.second.command();
    if (!stays) print_line("%s: stopped", entry.first.c_str());
    return !stays;
  });
  for (const auto& [name, command] : *wanted) programs_.try_emplace(name, loop_, name, command);
  print_line("ready %zu", programs_.size());
  return true;
}

template <class Program>
std::string program_set<Program>::answer(std::string_view line) {
  const std::size_t space = line.find(' ');
  const std::string_view word = line.substr(0, space);
  const bool has_name = space != std::string_view::npos;
  const std::string name(has_name ? line.substr(space + 1) : std::string_view());
  if (word == "status" && !has_name) {
    std::string all;
    for (const auto& [key, one] : programs_) all += key + ": " + one.status().in_words() + "\n";
    return all + "ok\n";
  }
  if (word == "reload" && !has_name) {
    return load() ? "ok\n" : "error: the configuration cannot be read\n";
  }
  if ((word == "restart" || word == "stop") && has_name) {
    const auto found = programs_.find(name);
    if (found == programs_.end()) return "error: there is no such program\n";
    if (word == "stop") {
      found->second.stop();
    } else {
      found->second.restart();
    }
    return "ok\n";
  }
  return "error: send status, reload, restart NAME or stop NAME\n";
}
