// SPDX-License-Identifier: BSD-2-Clause

#include "daemon.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

#include <eddy/future/task.h>

eddy::address listen_address(int argc, char** argv) {
  const std::string_view option = argc > 1 ? argv[1] : "--listen";
  const std::string_view text = argc > 2 ? argv[2] : "127.0.0.1:7000";
  const auto parsed = eddy::address::parse(text);
  if (argc == 2 || argc > 3 || option != "--listen" || !parsed) {
    std::fprintf(stderr, "usage: %s [--listen ADDRESS:PORT]\n", argv[0]);
    std::exit(2);
  }
  return *parsed;
}

void print_ready(const eddy::address& address) {
  std::printf("ready %s\n", address.to_string().c_str());
  std::fflush(stdout);
}

daemon_signals::daemon_signals(eddy::event_loop& loop, eddy::handler<void()> on_stop,
                               eddy::handler<void()> on_kill, eddy::handler<census()> count)
    : loop_(loop),
      on_stop_(std::move(on_stop)),
      on_kill_(std::move(on_kill)),
      count_(std::move(count)),
      terminate_(loop, SIGTERM),
      interrupt_(loop, SIGINT),
      user_(loop, SIGUSR1) {
  terminate_.start([this] { stop(); });
  interrupt_.start([this] { stop(); });
  user_.start([this] { print_alive(); });
  for (eddy::signal* s : {&terminate_, &interrupt_, &user_}) s->background(true);
}

void daemon_signals::stop() { std::exchange(stopping_, true) ? on_kill_() : on_stop_(); }

void daemon_signals::print_alive() {
  const eddy::event_loop::counts alive = loop_.count();
  const census own = count_();
  // The directory that is read is open itself, and does not count.
  const auto descriptors =
      std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}) - 1;
  std::printf(
      "{\"tasks\":%zu,\"frames\":%zu,\"timers\":%zu,\"watchers\":%zu,\"connections\":%zu,"
      "\"descriptors\":%td,\"buffered\":%zu}\n",
      alive.tasks, eddy::frame_count(), alive.timers, alive.waiting, own.connections, descriptors,
      own.buffered);
  std::fflush(stdout);
}
