// SPDX-License-Identifier: BSD-2-Clause
//
// The parts that all servers of the samples share: the address from the command
// line, output that never holds the server up, and an orderly end on SIGTERM
// and SIGINT. The echo servers print the tree of live objects on SIGUSR1.
#pragma once

#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>

#include <dirent.h>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/signal.h>
#include <eddy/net/address.h>

/// Has the process outlive its terminal and the readers of its output. SIGHUP is
/// ignored, because there is no configuration to read again, and so is SIGPIPE.
/// A standard stream that is closed becomes /dev/null, so that no connection gets
/// its number, and with it the lines that are printed. Call it first.
void prepare_process();

/// The address after `--listen`; 127.0.0.1:7000 if there is none. Prints what
/// is wrong with the command line and ends the program.
eddy::address listen_address(int argc, char** argv);

/// Writes a line to stdout, as `printf` does, but neither waits nor allocates. If
/// the line does not fit, because nobody reads the pipe, it is dropped and counted.
[[gnu::format(printf, 1, 2)]] void print_line(const char* format, ...) noexcept;
/// The same to stderr, at most ten a second, with the number of lines that were
/// dropped so far.
[[gnu::format(printf, 1, 2)]] void print_error(const char* format, ...) noexcept;

/// Says that the server accepts connections at `address`.
void print_ready(const eddy::address& address);

/// How long a server waits after a connection that it could not take, as when it
/// is short of memory: the next attempt would most likely fail, too.
inline constexpr std::chrono::milliseconds accept_pause(100);

/// The numbers that a server counts itself.
struct census {
  std::size_t connections = 0;
  std::size_t buffered = 0;  // bytes read and not yet written
};

/// The signals of a server; none of them keeps the loop running.
class daemon_signals {
public:
  /// `on_stop` is called at the first SIGTERM or SIGINT, to finish what is in
  /// flight; `on_kill` at the next one, to drop it.
  daemon_signals(eddy::event_loop& loop, eddy::handler<void()> on_stop,
                 eddy::handler<void()> on_kill, eddy::handler<census()> count);

private:
  struct closer {
    void operator()(DIR* d) const noexcept { ::closedir(d); }
  };

  void stop();
  void print_alive();
  [[nodiscard]] int count_descriptors() const noexcept;

  eddy::event_loop& loop_;
  eddy::handler<void()> on_stop_;
  eddy::handler<void()> on_kill_;
  eddy::handler<census()> count_;
  bool stopping_ = false;
  // Open from the start: there may be no descriptor and no memory left to open it.
  std::unique_ptr<DIR, closer> descriptors_;
  eddy::signal terminate_;
  eddy::signal interrupt_;
  eddy::signal user_;
};

/// The main function of a server: reads the command line with `read`, makes a
/// `Server(loop, arguments)` and runs it until it has stopped. A server has
/// `address`, `stop`, `kill` and `count`. Returns the exit status. `name` begins
/// the line about an error that ends the program.
template <class Server, class Arguments = eddy::address>
int run_server(const char* name, int argc, char** argv,
               Arguments (*read)(int, char**) = listen_address) try {
  prepare_process();
  const Arguments arguments = read(argc, argv);
  eddy::event_loop loop;
  Server server(loop, arguments);
  const daemon_signals signals(
      loop, [&] { server.stop(); }, [&] { server.kill(); }, [&] { return server.count(); });
  print_ready(server.address());
  loop.run();
  return 0;
} catch (const std::exception& e) {
  print_error("%s: %s", name, e.what());
  return 1;
}
