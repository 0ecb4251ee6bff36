// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <filesystem>
#include <iterator>
#include <thread>

#include <doctest/doctest.h>

#include <eddy/loop/clock.h>
#include <eddy/loop/event_loop.h>

/// The number of open descriptors of this process.
inline std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

/// A fixture that checks that the test leaves no descriptor open.
class tidy {
public:
  tidy() = default;
  tidy(const tidy&) = delete;
  tidy& operator=(const tidy&) = delete;
  ~tidy() {
    // A worker thread may hold a loop's wake-up descriptor a moment longer.
    for (int i = 0; i < 100'000 && open_descriptors() != before_; ++i) std::this_thread::yield();
    CHECK(open_descriptors() == before_);
  }

private:
  std::size_t before_ = open_descriptors();
};

/// Checks that a loop has no work left.
inline void check_empty(const eddy::event_loop& loop) {
  const auto left = loop.count();
  CHECK(left.ready == 0);
  CHECK(left.timers == 0);
  CHECK(left.waiting == 0);
  CHECK(left.tasks == 0);
}

/// A fixture with a loop on the real clock. The test must leave the loop empty.
struct with_loop : tidy {
  eddy::event_loop loop;
  ~with_loop() { check_empty(loop); }
};

/// A fixture with a loop on a clock that moves only when the test moves it.
struct with_still_loop : tidy {
  eddy::manual_clock clock;
  eddy::event_loop loop{clock};
  ~with_still_loop() { check_empty(loop); }
};

/// A fixture with a loop on a clock that jumps to the next deadline when nothing is ready.
struct with_jumping_loop : tidy {
  eddy::manual_clock clock{eddy::manual_clock::idle::jump};
  eddy::event_loop loop{clock};
  ~with_jumping_loop() { check_empty(loop); }
};
