// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <ev.h>

#include <eddy/loop/event_loop.h>

#include "support/tidy.h"

// Four fixtures for TEST_CASE_TEMPLATE, one for each way to run a loop. A test of what all
// loops guarantee runs on each.

/// A loop that eddy makes and runs.
struct own_loop : with_loop {
  void run() { loop.run(); }
};

/// A loop that eddy makes and runs, with `native()` in use, as for C libraries.
struct hosted_loop : with_loop {
  hosted_loop() { static_cast<void>(loop.native()); }
  void run() { loop.run(); }
};

/// A base for the fixtures below: a libev loop that the test owns.
class program_loop : public tidy {
public:
  program_loop() = default;
  ~program_loop() { ev_loop_destroy(ev); }

  struct ev_loop* ev = ev_loop_new(EVBACKEND_EPOLL);
};

/// A loop on an adopted libev loop that eddy runs.
struct adopted_loop : program_loop {
  eddy::event_loop loop{ev};
  ~adopted_loop() { check_empty(loop); }
  void run() { loop.run(); }
};

/// A loop on an adopted libev loop that the program runs.
struct program_run_loop : program_loop {
  eddy::event_loop loop{ev};
  ~program_run_loop() { check_empty(loop); }
  void run() { ev_run(ev, 0); }
};

#define ANY_LOOP own_loop, hosted_loop, adopted_loop, program_run_loop
