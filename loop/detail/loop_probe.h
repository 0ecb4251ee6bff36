// SPDX-License-Identifier: BSD-2-Clause
#pragma once

namespace eddy {

class event_loop;

namespace detail {

struct list_node;

/// Watches a loop run, for tests. At each point the probe may do what a handler might do there.
/// A loop without a probe pays one comparison per turn.
///
/// Lifetime: the loop uses the probe until the probe is destroyed.
class loop_probe {
public:
  explicit loop_probe(event_loop& loop) noexcept;
  loop_probe(const loop_probe&) = delete;
  loop_probe& operator=(const loop_probe&) = delete;

  /// Called where no user code is on the stack: before each entry of the queues, and when they
  /// are empty.
  virtual void at_point() = 0;

  /// Moves at least one of the descriptors' nodes in `arrived` to `ready`, in any order.
  virtual void choose(list_node& arrived, list_node& ready) noexcept = 0;

  /// Called when the loop has waited for `patience` milliseconds without an event.
  virtual void waited_in_vain() noexcept = 0;
  static constexpr int patience = 5000;

protected:
  ~loop_probe();

private:
  event_loop& loop_;
};

}  // namespace detail

}  // namespace eddy
