// SPDX-License-Identifier: BSD-2-Clause
//
// What every server of the samples does besides serving: its address from the
// command line, an orderly end on SIGTERM and SIGINT, and a line that counts
// what is alive on SIGUSR1.
#pragma once

#include <cstddef>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/signal.h>
#include <eddy/net/address.h>

/// The address after `--listen`; 127.0.0.1:7000 if there is none. Prints what
/// is wrong with the command line and ends the program.
eddy::address listen_address(int argc, char** argv);

/// Says that the server accepts connections at `address`.
void print_ready(const eddy::address& address);

/// What a server has of its own to count.
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
  void stop();
  void print_alive();

  eddy::event_loop& loop_;
  eddy::handler<void()> on_stop_;
  eddy::handler<void()> on_kill_;
  eddy::handler<census()> count_;
  bool stopping_ = false;
  eddy::signal terminate_;
  eddy::signal interrupt_;
  eddy::signal user_;
};
