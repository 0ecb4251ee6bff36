// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>

#include <eddy/loop/detail/language.h>
#include <eddy/loop/detail/list_node.h>
#include <eddy/loop/detail/misuse.h>

namespace eddy {

class event_loop;

namespace detail {
class due_limits;
class loop_access;
class post_queue;
class post_chunk;
class timer_queue;
}  // namespace detail

/// An entry of a loop's ready queue, as a base class of the object that waits.
///
/// `event_loop::ready` puts the node at the end of the queue, without allocating memory. The
/// loop takes it out and calls its function from a turn, never inside a call of user code. All
/// work of the loop runs in this way.
///
/// Lifetime: a node may be destroyed at any time, also by its own function. A queued node that
/// is destroyed leaves the queue and never runs.
class ready_node : private detail::list_node {
public:
  using function = void (*)(ready_node&);

  /// Makes a node for which the loop calls `run`. A null pointer aborts the program.
  explicit ready_node(function run) noexcept : run_(run) {
    detail::expect_handler(run, "ready_node");
  }
  ready_node(std::nullptr_t) = delete;
  ready_node(const ready_node&) = delete;
  ready_node& operator=(const ready_node&) = delete;
  ~ready_node() { unlink(); }

  /// Returns whether the node is in a queue.
  [[nodiscard]] bool queued() const noexcept { return linked(); }

  /// Takes the node out of the queue, if it is in a queue.
  void withdraw() noexcept { unlink(); }

protected:
  /// Takes the position of `other` in the queue, and its function.
  ready_node(ready_node&& other) noexcept : run_(other.run_) { replace(other); }

  /// Runs the function of `other` in place of this node's. A node's function calls this last.
  static void run_instead(ready_node& other) { other.run_(other); }

  /// Sets the function that the loop calls from now on.
  void set_function(function run) noexcept { run_ = run; }

private:
  friend class event_loop;
  friend class detail::due_limits;
  friend class detail::loop_access;
  friend class detail::post_queue;
  friend class detail::post_chunk;
  friend class detail::timer_queue;

  /// Makes a node of the loop's own: a function given to `defer`.
  ready_node() noexcept : run_(nullptr) {}
  /// Whether the loop owns this node. No function tells the kind of a node by its address,
  /// because linkers may give equal functions one address (`--icf=all`).
  [[nodiscard]] bool deferred() const noexcept { return run_ == nullptr; }

  function run_;  // null: `deferred`
};

}  // namespace eddy
