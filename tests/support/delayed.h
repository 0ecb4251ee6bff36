// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

#include <eddy/future/sleep.h>
#include <eddy/future/task.h>

#include "support/counted.h"
#include "support/journal.h"

// Tasks that do something after a delay, for scopes.

inline eddy::task<> note_after(eddy::duration delay, journal* note, std::string name) {
  co_await eddy::sleep(delay);
  (*note)(name);
}

inline eddy::task<> fail_after(eddy::duration delay, const char* why = "failed") {
  co_await eddy::sleep(delay);
  throw std::runtime_error(why);
}

inline eddy::task<> count_until(counted, eddy::duration delay) { co_await eddy::sleep(delay); }

/// The words of the error of `work`, or "none".
inline eddy::task<std::string> error_of(eddy::task<> work) {
  std::string what = "none";
  try {
    co_await std::move(work);
  } catch (const std::exception& e) {
    what = e.what();
  }
  co_return what;
}
