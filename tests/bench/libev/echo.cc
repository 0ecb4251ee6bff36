// SPDX-License-Identifier: BSD-2-Clause
// libev, as ev(3) shows it: an ev_io per connection.
#include "bench/echo.h"

#include <cerrno>
#include <string>
#include <vector>

#include <ev.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

std::vector<char> buffer;
bool idle = false;  // whether idle connections are closed

struct connection {
  ev_io io;
  std::string* rest = nullptr;  // bytes that the kernel did not take
};

/// Each message calls `ev_timer_again`, as ev(3) says in "Be smart about timeouts".
struct timed_connection : connection {
  ev_timer timer;
};

void end(struct ev_loop* loop, connection* c) {
  ev_io_stop(loop, &c->io);
  ::close(c->io.fd);
  delete c->rest;
  if (idle) {
    auto* const timed = static_cast<timed_connection*>(c);
    ev_timer_stop(loop, &timed->timer);
    delete timed;
  } else {
    delete c;
  }
}

void on_idle(struct ev_loop* loop, ev_timer* timer, int) {
  end(loop, static_cast<timed_connection*>(timer->data));
}

void watch(struct ev_loop* loop, connection* c, int events) {
  ev_io_stop(loop, &c->io);
  ev_io_set(&c->io, c->io.fd, events);
  ev_io_start(loop, &c->io);
}

void on_ready(struct ev_loop* loop, ev_io* io, int) {
  auto* const c = reinterpret_cast<connection*>(io);
  if (c->rest != nullptr) {
    const ssize_t sent = ::send(io->fd, c->rest->data(), c->rest->size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) return;
    if (sent < 0) return end(loop, c);
    c->rest->erase(0, static_cast<std::size_t>(sent));
    if (!c->rest->empty()) return;
    delete c->rest;
    c->rest = nullptr;
    return watch(loop, c, EV_READ);
  }
  const ssize_t size = ::read(io->fd, buffer.data(), buffer.size());
  if (size < 0 && errno == EAGAIN) return;
  if (size <= 0) return end(loop, c);
  if (idle) ev_timer_again(loop, &static_cast<timed_connection*>(c)->timer);
  const ssize_t sent = ::send(io->fd, buffer.data(), static_cast<std::size_t>(size), MSG_NOSIGNAL);
  if (sent == size) return;
  if (sent < 0 && errno != EAGAIN) return end(loop, c);
  const auto done = sent < 0 ? 0 : sent;
  c->rest = new std::string(buffer.data() + done, static_cast<std::size_t>(size - done));
  watch(loop, c, EV_WRITE);
}

void on_connection(struct ev_loop* loop, ev_io* io, int) {
  const int s = bench::accept_from(io->fd);
  if (s < 0) return;
  auto* const c = idle ? new timed_connection : new connection;
  if (idle) {
    ev_timer* const timer = &static_cast<timed_connection*>(c)->timer;
    ev_timer_init(timer, on_idle, 0., bench::idle_seconds);
    timer->data = c;
    ev_timer_again(loop, timer);
  }
  ev_io_init(&c->io, on_ready, s, EV_READ);
  ev_io_start(loop, &c->io);
}

}  // namespace

int main(int count, char** words) {
  const auto arguments = bench::echo_main(count, words, {"idle"});
  buffer.resize(arguments.buffer);
  idle = arguments.variant == "idle";
  struct ev_loop* const loop = ev_default_loop(EVBACKEND_EPOLL);
  ev_io listener;
  ev_io_init(&listener, on_connection, bench::listen_at(arguments), EV_READ);
  ev_io_start(loop, &listener);
  ev_run(loop, 0);
}
