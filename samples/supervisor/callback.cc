// SPDX-License-Identifier: BSD-2-Clause
//
// Keeps programs running. Each line of the configuration is a name and a shell command. A program
// that ends is started again, after a delay that doubles each time. Lines that the programs print
// come out with their names in front. SIGHUP has the configuration read again: programs whose
// line is unchanged run on. SIGTERM and SIGINT end all programs, and then the supervisor.
//
// With a second argument, clients may connect to a Unix socket and send lines: `status`, `reload`,
// `restart NAME` and `stop NAME`. await.cc does the same with coroutines.
//
//   printf 'clock while sleep 1; do date; done\nbad exit 1\n' >programs
//   ./samples/run supervisor callback programs ./control
//   echo status | ./samples/run netcat unix:./control

#include <array>
#include <cstddef>
#include <exception>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <signal.h>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/signal.h>
#include <eddy/loop/timer.h>
#include <eddy/net/buffered.h>
#include <eddy/net/byte_stream.h>
#include <eddy/net/process.h>
#include <eddy/net/unix_listener.h>
#include <eddy/net/unix_stream.h>

#include "../daemon/daemon.h"
#include "programs.h"

namespace {

using state = program_status::state;

/// A program of the configuration.
class program {
public:
  program(eddy::event_loop& loop, std::string name, std::string command)
      : loop_(loop),
        name_(std::move(name)),
        command_(std::move(command)),
        lines_(name_),
        rest_(loop),
        pause_(loop) {
    keep_running();
  }
  program(const program&) = delete;
  program& operator=(const program&) = delete;

  [[nodiscard]] const std::string& command() const { return command_; }
  [[nodiscard]] const program_status& status() const { return status_; }

  /// Ends the program, if it runs, and starts it again at once.
  void restart() {
    again_ = true;
    if (child_.started()) {
      child_.terminate();
      status_.now = state::ending;
    } else {
      keep_running();
    }
  }
  /// Ends the program, which stays stopped until it is restarted.
  void stop() {
    again_ = false;
    wanted_ = false;
    if (child_.started()) {
      child_.terminate();
      status_.now = state::ending;
    } else if (status_.now == state::waiting) {
      pause_.stop();
      print_end(name_, "did not run");
      status_.now = state::stopped;
    }
  }

private:
  void print_output() {
    child_.output().read(buffer_, [this](eddy::result<std::size_t> n) {
      if (n && *n != 0) {
        lines_.add({buffer_.data(), *n});
        return print_output();
      }
      printed_ = true;
      if (how_) next_start();
    });
  }

  /// Runs the program to its end.
  void run_once() {
    how_.reset();
    printed_ = false;
    child_ = eddy::process(loop_, run_by_shell(command_));
    status_ = {state::running, child_.pid(), status_.starts + 1};
    print_started(name_, status_);
    print_output();
    child_.wait([this](eddy::result<eddy::exit_status> end) {
      how_ = end ? in_words(*end) : end.error().message();
      if (printed_) return next_start();
      rest_.start(rest_of_output, [this] {
        child_.output().stop_reading();
        next_start();
      });
    });
  }

  void keep_running() {
    wanted_ = true;
    again_ = false;
    delay_.reset();
    pause_.start(eddy::duration::zero(), [this] { start(); });
  }

  void start() {
    delay_.begin(loop_.now());
    try {
      run_once();
    } catch (const std::exception& e) {
      how_ = e.what();
      next_start();
    }
  }

  /// Starts the program again, now or later, if it is wanted.
  void next_start() {
    const std::string how = *std::move(how_);
    rest_.stop();
    lines_.end();
    child_ = eddy::process();
    if (std::exchange(again_, false)) {
      wanted_ = true;
      delay_.reset();
      print_restart(name_, how, {});
      return pause_.start(eddy::duration::zero(), [this] { start(); });
    }
    if (!wanted_) {
      print_end(name_, how);
      status_.now = state::stopped;
      return;
    }
    const auto delay = delay_.next(loop_.now());
    print_restart(name_, how, delay);
    status_.now = state::waiting;
    pause_.start(delay, [this] { start(); });
  }

  eddy::event_loop& loop_;
  std::string name_;
  std::string command_;
  program_status status_;
  back_off delay_;
  bool wanted_ = true;              // to run
  bool again_ = false;              // to start at once when it has ended
  bool printed_ = false;            // all of its output
  std::optional<std::string> how_;  // the program has ended
  line_printer lines_;
  std::array<char, 4096> buffer_;
  eddy::timer rest_;
  eddy::timer pause_;
  eddy::process child_;
};

class supervisor {
public:
  supervisor(eddy::event_loop& loop, arguments how)
      : loop_(loop),
        how_(std::move(how)),
        programs_(loop, how_.configuration),
        reload_(loop, SIGHUP),
        terminate_(loop, SIGTERM),
        interrupt_(loop, SIGINT),
        pause_(loop) {
    if (how_.control) listener_ = eddy::unix_listener(loop, *how_.control, control_options());
    programs_.load();
    if (how_.control) accept_all();
    reload_.start([this] { programs_.load(); });
    terminate_.start([this] { end(); });
    interrupt_.start([this] { end(); });
  }

private:
  struct client {
    client(eddy::event_loop& loop, eddy::unix_stream s) : stream(std::move(s)), limit(loop) {}
    eddy::buffered<eddy::unix_stream> stream;
    eddy::timer limit;
  };
  using place = std::list<client>::iterator;

  void accept_all() {
    listener_.accept([this](eddy::result<eddy::unix_stream> stream) {
      try {
        if (!stream) throw std::system_error(stream.error());
        if (clients_.size() < most_clients) {
          serve(clients_.emplace(clients_.end(), loop_, std::move(*stream)));
        } else {
          static_cast<void>(stream->try_write(too_many_clients));
        }
        accept_all();
      } catch (const std::exception& e) {
        print_error("supervisor: cannot accept a client: %s", e.what());
        pause_.start(client_pause, [this] { accept_all(); });
      }
    });
  }

  /// Serves one client. Its errors concern nobody else.
  void serve(place here) {
    attempt(here, [&] {
      here->limit.start(how_.client_limit, [this, here] { clients_.erase(here); });
      here->stream.read_line(
          longest_command,
          [this, here](eddy::result<std::optional<std::string_view>> line) { reply(here, line); });
    });
  }

  void reply(place here, const eddy::result<std::optional<std::string_view>>& line) {
    attempt(here, [&] {
      const bool long_line = !line && line.error() == eddy::stream_error::too_long;
      if (!long_line && (!line || !*line)) {
        clients_.erase(here);
        return;
      }
      here->stream.put(long_line ? too_long : programs_.answer(**line));
      here->limit.start(how_.client_limit, [this, here] { clients_.erase(here); });
      here->stream.flush([this, here, long_line](eddy::result<void> sent) {
        if (!sent) print_error("supervisor: a client failed: %s", sent.error().message().c_str());
        if (!sent || long_line) {
          clients_.erase(here);
        } else {
          serve(here);
        }
      });
    });
  }

  void attempt(place here, auto step) {
    try {
      step();
    } catch (const std::exception& e) {
      print_error("supervisor: a client failed: %s", e.what());
      clients_.erase(here);
    }
  }

  /// Ends all programs. The loop runs until the last has ended.
  void end() {
    print_line("stopping");
    reload_.stop();
    terminate_.stop();
    interrupt_.stop();
    pause_.stop();
    listener_.close();
    clients_.clear();
    programs_.clear();
  }

  eddy::event_loop& loop_;
  arguments how_;
  program_set<program> programs_;
  eddy::signal reload_;
  eddy::signal terminate_;
  eddy::signal interrupt_;
  eddy::unix_listener listener_;
  eddy::timer pause_;
  std::list<client> clients_;
};

}  // namespace

int main(int argc, char** argv) try {
  prepare_process();
  const arguments how(argc, argv);
  eddy::event_loop loop;
  const supervisor all(loop, how);
  loop.run();
  print_line("ended");
} catch (const std::exception& e) {
  print_error("supervisor: %s", e.what());
  return 1;
}
