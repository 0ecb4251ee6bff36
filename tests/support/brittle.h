// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <stdexcept>

/// A value that can be moved `strength` times. The next move throws "broke".
struct brittle {
  explicit brittle(int strength) : moves(strength) {}
  brittle(brittle&& other) : moves(other.moves - 1) {
    if (moves < 0) throw std::runtime_error("broke");
  }
  int moves;
};
