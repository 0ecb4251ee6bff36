// SPDX-License-Identifier: BSD-2-Clause
//
// Keeps programs running. Each line of the configuration is a name and a shell command. A program
// that ends is started again, after a delay that doubles each time. Lines that the programs print
// come out with their names in front. SIGHUP has the configuration read again: programs whose
// line is unchanged run on. SIGTERM and SIGINT end all programs, and then the supervisor.
//
// With a second argument, clients may connect to a Unix socket and send lines: `status`, `reload`,
// `restart NAME` and `stop NAME`. callback.cc does the same with handlers.
//
//   printf 'clock while sleep 1; do date; done\nbad exit 1\n' >programs
//   ./samples/run supervisor await programs ./control
//   echo status | ./samples/run netcat unix:./control

#include <array>
#include <cstddef>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <signal.h>

#include <eddy/future/as_result.h>
#include <eddy/future/future.h>
#include <eddy/future/scope.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/signal.h>
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
      : loop_(loop), name_(std::move(name)), command_(std::move(command)) {
    running_ = eddy::spawn(loop_, keep_running());
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
      running_ = eddy::spawn(loop_, keep_running());
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
      running_ = eddy::future<>();
      print_end(name_, "did not run");
      status_.now = state::stopped;
    }
  }

private:
  eddy::task<> print_output() {
    line_printer lines(name_);
    std::array<char, 4096> buffer;
    for (;;) {
      const std::size_t n = co_await child_.output().read(buffer);
      if (n == 0) break;
      lines.add({buffer.data(), n});
    }
  }

  /// Runs the program to its end, and says how it ended.
  eddy::task<std::string> run_once() {
    child_ = eddy::process(loop_, run_by_shell(command_));
    status_ = {state::running, child_.pid(), status_.starts + 1};
    print_started(name_, status_);
    auto printing = eddy::spawn(loop_, print_output());
    const eddy::exit_status end = co_await child_.wait();
    auto rest = eddy::timeout(rest_of_output, std::move(printing));
    static_cast<void>(co_await eddy::as_result(std::move(rest)));
    co_return in_words(end);
  }

  eddy::task<> keep_running() {
    wanted_ = true;
    again_ = false;
    delay_.reset();
    for (;;) {
      delay_.begin(loop_.now());
      std::string how;
      try {
        how = co_await run_once();
      } catch (const std::exception& e) {
        how = e.what();
      }
      child_ = eddy::process();
      if (std::exchange(again_, false)) {
        wanted_ = true;
        delay_.reset();
        print_restart(name_, how, {});
        continue;
      }
      if (!wanted_) {
        print_end(name_, how);
        status_.now = state::stopped;
        co_return;
      }
      const auto delay = delay_.next(loop_.now());
      print_restart(name_, how, delay);
      status_.now = state::waiting;
      co_await eddy::sleep(delay);
    }
  }

  eddy::event_loop& loop_;
  std::string name_;
  std::string command_;
  program_status status_;
  back_off delay_;
  bool wanted_ = true;  // to run
  bool again_ = false;  // to start at once when it has ended
  eddy::process child_;
  eddy::future<> running_;
};

class supervisor {
public:
  supervisor(eddy::event_loop& loop, arguments how)
      : how_(std::move(how)),
        programs_(loop, how_.configuration),
        reload_(loop, SIGHUP),
        terminate_(loop, SIGTERM),
        interrupt_(loop, SIGINT),
        clients_(loop) {
    if (how_.control) listener_ = eddy::unix_listener(loop, *how_.control, control_options());
    programs_.load();
    if (how_.control) clients_.spawn(accept_all());
    reload_.start([this] { programs_.load(); });
    terminate_.start([this] { end(); });
    interrupt_.start([this] { end(); });
  }

private:
  eddy::task<> accept_all() {
    for (;;) {
      try {
        eddy::unix_stream stream = co_await listener_.accept();
        if (count_ < most_clients) {
          clients_.spawn(serve(std::move(stream)));
          continue;
        }
        static_cast<void>(stream.try_write(too_many_clients));
        continue;
      } catch (const std::exception& e) {
        print_error("supervisor: cannot accept a client: %s", e.what());
      }
      co_await eddy::sleep(client_pause);
    }
  }

  /// Serves one client. Its errors concern nobody else.
  eddy::task<> serve(eddy::unix_stream stream) {
    struct counts {
      explicit counts(std::size_t& n) : count(n) { ++count; }
      ~counts() { --count; }
      counts(const counts&) = delete;
      counts& operator=(const counts&) = delete;
      std::size_t& count;
    };
    const counts one(count_);
    try {
      eddy::buffered<eddy::unix_stream> client(std::move(stream));
      for (;;) {
        auto reading =
            eddy::as_result(eddy::timeout(how_.client_limit, client.read_line(longest_command)));
        const auto line = co_await std::move(reading);
        const bool long_line = !line && line.error() == eddy::stream_error::too_long;
        if (!long_line && (!line || !*line)) co_return;
        client.put(long_line ? too_long : programs_.answer(**line));
        auto flushing = eddy::timeout(how_.client_limit, client.flush());
        co_await std::move(flushing);
        if (long_line) co_return;
      }
    } catch (const std::exception& e) {
      print_error("supervisor: a client failed: %s", e.what());
    }
  }

  /// Ends all programs. The loop runs until the last has ended.
  void end() {
    print_line("stopping");
    reload_.stop();
    terminate_.stop();
    interrupt_.stop();
    clients_.cancel();
    listener_.close();
    programs_.clear();
  }

  arguments how_;
  program_set<program> programs_;
  eddy::signal reload_;
  eddy::signal terminate_;
  eddy::signal interrupt_;
  eddy::unix_listener listener_;
  std::size_t count_ = 0;  // of clients
  eddy::scope clients_;
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
