// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

namespace eddy::detail {

class cancellation;
class frame;
class future_core;

/// The coroutine that runs on this thread, and what has to be done when it is off the stack.
struct activation {
  frame* current = nullptr;        // runs, or has just completed; null if no coroutine runs
  std::uintptr_t stack_end = 0;    // awaited coroutines may start on the stack above this address;
                                   // the largest address if `current` was dropped
  frame* next = nullptr;           // the waiter to resume then
  bool chores = false;             // whether one of these three is set:
  frame* retired = nullptr;        // has completed, and is to be destroyed
  future_core* ended = nullptr;    // its task has completed
  future_core* dropped = nullptr;  // the tasks to destroy
  activation* outer = nullptr;     // of the loop whose handler runs this loop
};

/// Marks the time in which something cancels the coroutines that `waiter` awaits, but not `waiter`
/// itself. If a destructor in these coroutines drops the task to which `waiter` belongs, that task
/// is destroyed when the cancellation ends: after the coroutines.
class cancellation {
public:
  /// A null `waiter` means that nobody awaits these coroutines: such a cancellation does nothing.
  explicit cancellation(frame* waiter) noexcept;
  cancellation(const cancellation&) = delete;
  cancellation& operator=(const cancellation&) = delete;
  ~cancellation();

private:
  friend class frame;
  friend class future_core;

  frame* waiter_;                   // null also once it is destroyed
  future_core* dropped_ = nullptr;  // the tasks to destroy at the end
  cancellation* outer_ = nullptr;
};

struct frames_of_thread {
  activation top;
  frame* dying = nullptr;                 // whose destruction is under way
  cancellation* cancellations = nullptr;  // that are under way, the innermost first
};

// Every program that links eddy has this variable, so that one load finds it. Only frame.cc, which
// defines it, forms its address; deep_stack.h says why.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local frames_of_thread frames_here;

}  // namespace eddy::detail
