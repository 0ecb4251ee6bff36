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

  /// Adds lines to `out`, each ending in a line feed.
  virtual void describe(std::string& out) const = 0;

protected:
  /// One that is not `listed` is not asked.
  inspectable(event_loop& loop, bool listed) noexcept : loop_(&loop) {
    if (!listed) return;
    ++loop.inspectables_;
    loop.inspected_.push_back(*this);
  }
  ~inspectable() {
    if (!linked()) return;
    unlink();
    --loop_->inspectables_;
  }

  [[nodiscard]] event_loop& loop() const noexcept { return *loop_; }

private:
  friend class event_loop;
  event_loop* loop_;
};

}  // namespace eddy
