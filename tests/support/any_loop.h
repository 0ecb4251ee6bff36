// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <ev.h>

#include <eddy/loop/event_loop.h>

#include "support/tidy.h"

// The four ways to run a loop, for TEST_CASE_TEMPLATE: what is promised of one
// holds for all.

/// By itself.
struct own_loop : with_loop {
  void run() { loop.run(); }
};

/// On a libev loop of its own, for C libraries.
struct hosted_loop : with_loop {
  hosted_loop() { static_cast<void>(loop.native()); }
  void run() { loop.run(); }
};

/// A libev loop that belongs to the test.
class program_loop : public tidy {
public:
  program_loop() = default;
  ~program_loop() { ev_loop_destroy(ev); }

  struct ev_loop* ev = ev_loop_new(EVBACKEND_EPOLL);
};

/// On an adopted libev loop, run by eddy.
struct adopted_loop : program_loop {
  eddy::event_loop loop{ev};
  ~adopted_loop() { check_empty(loop); }
  void run() { loop.run(); }
};

/// On an adopted libev loop, run by the program.
struct program_run_loop : program_loop {
  eddy::event_loop loop{ev};
  ~program_run_loop() { check_empty(loop); }
  void run() { ev_run(ev, 0); }
};

#define ANY_LOOP own_loop, hosted_loop, adopted_loop, program_run_loop
