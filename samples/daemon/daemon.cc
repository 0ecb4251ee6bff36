// SPDX-License-Identifier: BSD-2-Clause

#include "daemon.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <eddy/future/task.h>

namespace {

std::size_t dropped = 0;  // lines

// A second: what goes wrong with each connection must not fill the disk.
constexpr int most_errors = 10;

/// A pipe that poll calls writable takes PIPE_BUF bytes, 4096, without waiting. The descriptor is
/// not made non-blocking, because that would hold for whoever else has it open.
void write_line(int descriptor, const char* format, std::va_list arguments) noexcept {
  std::array<char, 1024> line;
  constexpr int most = 960;  // leaves room for what is added
  int size = std::clamp(std::vsnprintf(line.data(), most, format, arguments), 0, most - 1);
  if (descriptor == STDERR_FILENO && dropped != 0) {
    size += std::snprintf(&line[size], line.size() - most, " (%zu lines dropped so far)", dropped);
  }
  line[size++] = '\n';
  pollfd room{descriptor, POLLOUT, 0};
  const bool fits = ::poll(&room, 1, 0) == 1 && (room.revents & POLLOUT) != 0;
  if (!fits || ::write(descriptor, line.data(), size) != size) ++dropped;
}

}  // namespace

void prepare_process() {
  for (const int ignored : {SIGHUP, SIGPIPE}) std::signal(ignored, SIG_IGN);
  int descriptor = 0;
  do {
    descriptor = ::open("/dev/null", O_RDWR);
  } while (descriptor >= 0 && descriptor <= STDERR_FILENO);
  if (descriptor >= 0) ::close(descriptor);
}

eddy::address listen_address(int argc, char** argv) {
  const std::string_view option = argc > 1 ? argv[1] : "--listen";
  const std::string_view text = argc > 2 ? argv[2] : "127.0.0.1:7000";
  const auto parsed = eddy::address::parse(text);
  if (argc == 2 || argc > 3 || option != "--listen" || !parsed) {
    print_error("usage: %s [--listen ADDRESS:PORT]", argv[0]);
    std::exit(2);
  }
  return *parsed;
}

void print_line(const char* format, ...) noexcept {
  std::va_list arguments;
  va_start(arguments, format);
  write_line(STDOUT_FILENO, format, arguments);
  va_end(arguments);
}

void print_error(const char* format, ...) noexcept {
  static std::time_t second = 0;
  static int printed = 0;  // in that second
  if (const std::time_t now = std::time(nullptr); now != std::exchange(second, now)) printed = 0;
  if (++printed > most_errors) {
    ++dropped;
    return;
  }
  std::va_list arguments;
  va_start(arguments, format);
  write_line(STDERR_FILENO, format, arguments);
  va_end(arguments);
}

void print_ready(const eddy::address& address) {
  print_line("ready %s", address.to_string().c_str());
}

daemon_signals::daemon_signals(eddy::event_loop& loop, eddy::handler<void()> on_stop,
                               eddy::handler<void()> on_kill, eddy::handler<census()> count)
    : loop_(loop),
      on_stop_(std::move(on_stop)),
      on_kill_(std::move(on_kill)),
      count_(std::move(count)),
      descriptors_(::opendir("/proc/self/fd")),
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
  print_line(
      "{\"tasks\":%zu,\"frames\":%zu,\"timers\":%zu,\"watchers\":%zu,\"connections\":%zu,"
      "\"descriptors\":%d,\"buffered\":%zu,\"dropped\":%zu}",
      alive.tasks, eddy::frame_count(), alive.timers, alive.waiting, own.connections,
      count_descriptors(), own.buffered, dropped);
}

int daemon_signals::count_descriptors() const noexcept {
  if (descriptors_ == nullptr) return -1;  // there is no /proc
  ::rewinddir(descriptors_.get());
  int count = -3;  // ".", ".." and the directory itself
  while (::readdir(descriptors_.get()) != nullptr) ++count;
  return count;
}
