// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <fstream>
#include <string>
#include <thread>

#include <unistd.h>

/// Whether a process or thread sleeps in the kernel and has no pending signal.
inline bool asleep(::pid_t id) {
  std::ifstream status("/proc/" + std::to_string(id) + "/status");
  bool sleeps = false;
  bool signalled = false;
  for (std::string name, value; status >> name && std::getline(status >> std::ws, value);) {
    if (name == "State:") sleeps = value.starts_with('S');
    if (name == "SigPnd:" || name == "ShdPnd:") {
      signalled = signalled || value.find_first_not_of('0') != std::string::npos;
    }
  }
  return sleeps && !signalled;
}

inline void wait_until_asleep(::pid_t id) {
  while (!asleep(id)) std::this_thread::yield();
}
