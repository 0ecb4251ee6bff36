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

/// An entry of a loop's ready queue: a base class for objects that a loop runs.
///
/// `event_loop::ready` puts the node at the end of the queue, without allocating memory. In a turn,
/// the loop takes the node out of the queue and calls the node's function. The loop never calls the
/// function inside the call of `ready`, or inside another handler. The loop runs all its work as
/// such nodes.
///
/// Lifetime: a node may be destroyed at any time, also by its own function. If a queued node is
/// destroyed, the loop does not run it.
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
  /// Takes over the function of `other` and its position in the queue.
  ready_node(ready_node&& other) noexcept : run_(other.run_) { replace(other); }

  /// Calls the function of `other`. A node's function may call `run_instead` as its last statement,
  /// to let `other` run in its place.
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

  /// Makes the node of a function that was given to `defer`. The loop owns such a node.
  ready_node() noexcept : run_(nullptr) {}
  /// Whether this is the node of a function that was given to `defer`. Such nodes have no `run_`.
  /// Comparing `run_` with a known function would not be safe, because linkers may give equal
  /// functions one address (`--icf=all`).
  [[nodiscard]] bool deferred() const noexcept { return run_ == nullptr; }

  function run_;  // null: `deferred`
};

}  // namespace eddy
