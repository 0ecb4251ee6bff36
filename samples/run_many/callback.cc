// SPDX-License-Identifier: BSD-2-Clause
//
// Runs shell commands in parallel, a few at a time, and keeps their outputs apart. Ctrl-C ends the
// commands that run. await.cc does the same with coroutines.
//
//   ./samples/run run_many callback -j 2 'sleep 1; date' 'uname -a' 'ls /nowhere'

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <vector>

#include <signal.h>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/signal.h>
#include <eddy/net/pending_operation.h>
#include <eddy/net/run.h>

#include "jobs.h"

namespace {

class runner {
public:
  runner(eddy::event_loop& loop, jobs& all)
      : loop_(loop),
        all_(all),
        running_(std::min(all.at_once(), all.size())),
        interrupt_(loop, SIGINT) {
    interrupt_.start([this] { stop(); });
    interrupt_.background(true);
    for (std::size_t place = 0; place < running_.size(); ++place) start_next(place);
  }

  [[nodiscard]] bool interrupted() const { return interrupted_; }

private:
  /// Starts the next command, if there is one, in a place that is free.
  void start_next(std::size_t place) {
    if (next_ == all_.size()) return;
    const std::size_t number = next_++;
    running_[place] = eddy::run(loop_, all_.options(number),
                                [this, place, number](eddy::result<eddy::run_result> end) {
                                  all_.ended(number, end);
                                  start_next(place);
                                });
  }

  void stop() {
    interrupted_ = true;
    running_.clear();  // ends the commands
  }

  eddy::event_loop& loop_;
  jobs& all_;
  std::vector<eddy::pending_operation> running_;
  std::size_t next_ = 0;
  bool interrupted_ = false;
  eddy::signal interrupt_;
};

}  // namespace

int main(int argc, char** argv) try {
  jobs all(argc, argv);
  eddy::event_loop loop;
  const runner running(loop, all);
  loop.run();
  return running.interrupted() ? 130 : all.exit_code();
} catch (const std::exception& e) {
  std::fprintf(stderr, "run_many: %s\n", e.what());
  return 1;
}
