// SPDX-License-Identifier: BSD-2-Clause
//
// A libev program with a watcher of its own lets eddy adopt its loop, and then runs a
// coroutine on the loop. The program still calls ev_run itself.
//
//   ./samples/run embed

#include <chrono>
#include <cstdio>

#include <ev.h>

#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/loop/event_loop.h>

using namespace std::chrono_literals;

namespace {

/// The libev part of the program: a timer that ticks three times.
void on_tick(struct ev_loop* loop, ev_timer* timer, int) {
  static int ticks = 0;
  std::printf("libev: tick %d\n", ++ticks);
  if (ticks == 3) ev_timer_stop(loop, timer);
}

/// The eddy part of the program.
eddy::task<> coroutine() {
  for (int i = 1; i <= 3; ++i) {
    co_await eddy::sleep(20ms);
    std::printf("eddy: step %d\n", i);
  }
}

}  // namespace

int main() {
  struct ev_loop* const running = ev_loop_new(EVBACKEND_EPOLL);
  if (running == nullptr) {
    std::fputs("embed: cannot make an epoll loop\n", stderr);
    return 1;
  }
  ev_timer tick;
  ev_timer_init(&tick, on_tick, 0.03, 0.02);
  ev_timer_start(running, &tick);

  {
    eddy::event_loop loop(running);
    loop.on_exception([](const std::exception_ptr&) { std::fputs("a handler threw\n", stderr); });
    const eddy::future<> work = eddy::spawn(loop, coroutine());
    ev_run(running, 0);
    std::printf("the coroutine has %s\n", work.ready() ? "ended" : "not ended");
  }
  ev_loop_destroy(running);
}
