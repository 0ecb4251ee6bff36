// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <string>

#include <eddy/loop/event_loop.h>

namespace eddy {

/// Something on a loop that can say what it waits for; `event_loop::dump` asks.
///
/// Lifetime: the loop outlives it.
class inspectable : private detail::link {
public:
  explicit inspectable(event_loop& loop) noexcept : inspectable(loop, true) {}
  inspectable(const inspectable&) = delete;
  inspectable& operator=(const inspectable&) = delete;

  /// Adds lines to `out`, each ending in a line feed. A line that is indented by two
  /// spaces more is below the one before; how far the first is does not matter.
  virtual void describe(std::string& out) const = 0;

protected:
  /// One that is not `listed` is not asked.
  inspectable(event_loop& loop, bool listed) noexcept : loop_(&loop) {
    if (listed) list_in(loop.inspected_);
  }
  ~inspectable() { unlist(); }

  /// Goes to the end of a list, from another one if it is in one. What is in the
  /// list of something else is for that to describe; it counts all the same.
  void list_in(detail::link& list) noexcept {
    unlist();
    loop_->check_thread();
    ++loop_->inspectables_;
    list.push_back(*this);
  }
  void list() noexcept { list_in(loop_->inspected_); }
  void unlist() noexcept {
    if (!linked()) return;
    loop_->check_thread();
    unlink();
    --loop_->inspectables_;
  }
  [[nodiscard]] static inspectable& at(detail::link& place) noexcept {
    return static_cast<inspectable&>(place);
  }
  [[nodiscard]] static const inspectable& at(const detail::link& place) noexcept {
    return static_cast<const inspectable&>(place);
  }

  /// The loop is being destroyed: goes, if only the loop still owns it. True if
  /// it has gone.
  virtual bool abandon() noexcept { return false; }

  [[nodiscard]] event_loop& loop() const noexcept { return *loop_; }

private:
  friend class event_loop;
  event_loop* loop_;
};

}  // namespace eddy
