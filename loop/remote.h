// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <memory>

#include <eddy/loop/handler.h>

namespace eddy {

class event_loop;

namespace detail {
class mailbox;
class post_sheet;
}  // namespace detail

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

  /// About how many posted functions have not run yet: a thread that may be faster
  /// than the loop asks, and pauses when there are too many.
  [[nodiscard]] std::size_t backlog() const noexcept;

  /// Stops the program if the loop is another thread's now: for objects that belong to
  /// a loop and may outlive it. False if the loop is gone.
  bool check_thread() const noexcept;

private:
  friend class event_loop;
  friend class reserved_post;
  explicit remote(std::shared_ptr<detail::mailbox> box) noexcept : box_(std::move(box)) {}

  std::shared_ptr<detail::mailbox> box_;
};

/// A function that is posted later, by which time there may be no memory: all
/// that is needed is allocated here.
///
/// Lifetime: may outlive the loop. Destroying it drops a function that was not
/// posted.
/// Threads: it belongs to any one thread at a time.
class reserved_post {
public:
  /// Errors: `std::bad_alloc`.
  reserved_post(const remote& to, handler<void()> function);
  reserved_post(const reserved_post&) = delete;
  reserved_post& operator=(const reserved_post&) = delete;
  ~reserved_post();

  /// Posts the function, as `remote::post` does. Once: a second call does nothing.
  /// False if the loop is gone, and the function is then dropped.
  bool post() noexcept;

private:
  std::shared_ptr<detail::mailbox> box_;
  detail::post_sheet* sheet_;
};

}  // namespace eddy
