// SPDX-License-Identifier: BSD-2-Clause
#include <chrono>
#include <utility>

#include <ev.h>

#include <eddy/loop/timer.h>

#include "bench/eddy/echo_callback.h"
#include "bench/eddy/silent_library.h"

namespace {

class idle_timeout {
public:
  template <class Handler>
  idle_timeout(eddy::event_loop& loop, Handler on_idle) : timer_(loop) {
    timer_.start(time, std::move(on_idle));
  }
  void restart() { timer_.restart(time); }

private:
  static constexpr std::chrono::seconds time{bench::idle_seconds};
  eddy::timer timer_;
};

/// Runs the server on a libev loop that the program makes and runs.
void serve_on_adopted(const bench::echo_arguments& arguments) {
  struct ev_loop* const own = ev_default_loop(EVBACKEND_EPOLL);
  eddy::event_loop loop(own);
  const bench::echo_server server(loop, arguments);
  ev_run(own, 0);
}

void serve_with_library(const bench::echo_arguments& arguments) {
  eddy::event_loop loop;
  bench::silent_library library;
  library.start(loop.native());
  const bench::echo_server server(loop, arguments);
  loop.run();
}

void serve_with_timeouts(const bench::echo_arguments& arguments) {
  eddy::event_loop loop;
  const bench::echo_server<idle_timeout> server(loop, arguments);
  loop.run();
}

}  // namespace

int main(int count, char** words) {
  return bench::echo_variants_main(count, words, &serve_with_timeouts, &serve_on_adopted,
                                   &serve_with_library);
}
