// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <eddy/loop/description.h>
#include <eddy/loop/detail/loop_access.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

/// An object on a loop that describes what it waits for, for `event_loop::dump`.
///
/// Lifetime: the loop must outlive the object.
class inspectable : private detail::list_node {
public:
  explicit inspectable(event_loop& loop) noexcept : inspectable(loop, true) {}
  inspectable(const inspectable&) = delete;
  inspectable& operator=(const inspectable&) = delete;

  /// Describes this object to `to`: adds a node that says what this object waits for, and the nodes
  /// below that node.
  virtual void describe(description& to) const = 0;

protected:
  /// Makes an object on `loop`. `event_loop::dump` describes it only if it is `listed`.
  inspectable(event_loop& loop, bool listed) noexcept : loop_(&loop) {
    if (listed) list_in(detail::loop_access(loop).inspected());
  }
  ~inspectable() { unlist(); }

  /// Moves this object to the end of `list`, out of any list it is in. The owner of `list`
  /// describes it. `event_loop::count` still counts it.
  void list_in(detail::list_node& list) noexcept {
    unlist();
    loop_->check_thread();
    detail::loop_access(*loop_).add_inspectable();
    list.push_back(*this);
  }
  /// Moves this object to the end of the loop's own list, so that `event_loop::dump` describes
  /// it.
  void list() noexcept { list_in(detail::loop_access(*loop_).inspected()); }
  /// Takes this object out of its list. The loop then neither describes nor counts it.
  void unlist() noexcept {
    if (!linked()) return;
    loop_->check_thread();
    unlink();
    detail::loop_access(*loop_).remove_inspectable();
  }
  [[nodiscard]] static inspectable& at(detail::list_node& place) noexcept {
    return static_cast<inspectable&>(place);
  }
  [[nodiscard]] static const inspectable& at(const detail::list_node& place) noexcept {
    return static_cast<const inspectable&>(place);
  }

  /// The loop's destructor calls this function. An object that only the loop owns deletes itself
  /// and returns true. Any other object returns false.
  virtual bool abandon() noexcept { return false; }

  [[nodiscard]] event_loop& loop() const noexcept { return *loop_; }

private:
  friend class event_loop;
  event_loop* loop_;
};

}  // namespace eddy
