// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <eddy/loop/detail/language.h>
#include <eddy/loop/detail/link.h>

namespace eddy {

class event_loop;

namespace detail {
class due_limits;
class mailbox;
class post_sheet;
class timer_queue;
}  // namespace detail

/// A place in a loop's ready queue, embedded in the object that waits.
///
/// `event_loop::ready` puts it at the end of the queue; the loop takes it out
/// and calls `run`, with nothing of the user's on the stack. This is how all
/// work reaches the loop; no memory is allocated.
///
/// Lifetime: a node may be destroyed at any time, also by `run`; one that is
/// still queued leaves the queue and is never run.
class ready_node : private detail::link {
public:
  using function = void (*)(ready_node&);

  explicit ready_node(function run) noexcept : run_(run) {}
  ready_node(const ready_node&) = delete;
  ready_node& operator=(const ready_node&) = delete;
  ~ready_node() { unlink(); }

  /// Whether it is in a queue.
  [[nodiscard]] bool queued() const noexcept { return linked(); }

  /// Leaves the queue, if it is in one.
  void withdraw() noexcept { unlink(); }

protected:
  /// Takes the place that `other` has in the queue.
  ready_node(ready_node&& other) noexcept : run_(other.run_) { replace(other); }

  /// Runs another node in this one's place: to be called last by what the loop calls.
  static void run_instead(ready_node& other) { other.run_(other); }

  /// What the loop is to call from now on.
  void set_function(function run) noexcept { run_ = run; }

private:
  friend class event_loop;
  friend class detail::due_limits;
  friend class detail::mailbox;
  friend class detail::post_sheet;
  friend class detail::timer_queue;

  function run_;
};

}  // namespace eddy
