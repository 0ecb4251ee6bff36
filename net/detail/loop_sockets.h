// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <eddy/loop/detail/list_node.h>
#include <eddy/loop/detail/loop_access.h>
#include <eddy/loop/detail/optional_part.h>
#include <eddy/loop/event_loop.h>

namespace eddy::detail {

/// Waits until a socket of its loop is closed, because it needs a descriptor.
class descriptor_waiter : public list_node {
public:
  /// Called once, after this was unlinked.
  virtual void descriptor_freed() noexcept = 0;

protected:
  ~descriptor_waiter() = default;
};

/// State that the sockets of one loop share. It belongs to the loop and not to a thread, because a
/// loop may run on one thread and be destroyed on another.
class loop_sockets final : public optional_part {
public:
  /// Returns the state of `loop`; the first call makes it.
  /// Errors: `std::bad_alloc`.
  [[nodiscard]] static loop_sockets& of(event_loop& loop);

  /// Returns the state of `loop`, or null if no call of `of` has made it.
  [[nodiscard]] static loop_sockets* find(event_loop& loop) noexcept {
    return static_cast<loop_sockets*>(loop_access(loop).sockets().get());
  }

  /// Calls the descriptor waiters of `loop`: one of its sockets was closed.
  static void descriptor_freed(event_loop& loop) noexcept;

  /// Has `loop` run `node` after the nodes of all descriptors that were ready in this turn.
  static void run_behind_arrivals(event_loop& loop, ready_node& node) noexcept {
    loop_access(loop).arrive(node);
  }

  /// A list of `descriptor_waiter`.
  [[nodiscard]] list_node& descriptor_waiters() noexcept { return descriptor_waiters_; }

  /// A list of `refusal`s that the loop has still to deliver.
  [[nodiscard]] list_node& refusals() noexcept { return refusals_; }

  void renew(event_loop& /*loop*/) override {}

private:
  list_node descriptor_waiters_;
  list_node refusals_;
};

}  // namespace eddy::detail
