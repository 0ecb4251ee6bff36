// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <memory>

#include <eddy/loop/handler.h>

namespace eddy {

class event_loop;

namespace detail {
class mailbox;
}

/// The way into a loop from other threads; copies are alike.
///
/// Lifetime: may outlive the loop.
/// Threads: every member may be called from any thread.
class remote {
public:
  /// Has the loop call `function`, on its own thread. What one thread posts
  /// runs in the order it was posted in. The loop is woken once for all that
  /// arrives while it waits, and not at all while it is at work; that needs no
  /// new descriptor.
  ///
  /// False if the loop is gone; `function` is then dropped. What has been
  /// posted and not run when the loop is destroyed is dropped too.
  /// Errors: `std::bad_alloc`.
  bool post(handler<void()> function) const;

private:
  friend class event_loop;
  explicit remote(std::shared_ptr<detail::mailbox> box) noexcept : box_(std::move(box)) {}

  std::shared_ptr<detail::mailbox> box_;
};

}  // namespace eddy
