// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <memory>

#include <eddy/loop/handler.h>

namespace eddy {

class event_loop;

namespace detail {
class post_queue;
class post_chunk;
}  // namespace detail

/// Posts functions to a loop from any thread. Copies refer to the same loop.
///
/// Lifetime: a handle may outlive its loop. A moved-from handle aborts with a message when it is
/// used.
/// Threads: any thread may call every member.
class loop_handle {
public:
  /// Queues `function`; the loop calls it on its own thread. Returns false if the loop is gone.
  ///
  /// Functions that one thread posts run in the order of posting. A waiting loop is woken once
  /// for all functions that arrive during the wait; a running loop is not woken. If the loop is
  /// gone, `post` destroys `function`. If the loop is destroyed before `function` has run, the
  /// loop's destructor destroys it. Aborts with a message if `function` is null.
  /// Errors: `std::bad_alloc`.
  bool post(handler<void()> function) const;

  /// Returns about how many posted functions have not run yet; zero if the loop is gone. A
  /// thread that may be faster than the loop can pause when the number is high.
  [[nodiscard]] std::size_t backlog() const noexcept;

  /// Aborts with a message if the loop belongs to another thread, which runs the loop or has
  /// adopted it. Returns false if the loop is gone, so an object that may outlive its loop can call
  /// this function.
  bool check_thread() const noexcept;

private:
  friend class event_loop;
  friend class reserved_post;
  explicit loop_handle(std::shared_ptr<detail::post_queue> box) noexcept : box_(std::move(box)) {}

  std::shared_ptr<detail::post_queue> box_;
};

/// A function to be posted later without allocating memory: the constructor allocates all.
///
/// Lifetime: may outlive the loop. The destructor destroys a function that was not posted.
/// Threads: any one thread at a time may use it.
class reserved_post {
public:
  /// Keeps `function` for a later `post` to the loop of `to`. Aborts with a message if
  /// `function` is null.
  /// Errors: `std::bad_alloc`.
  reserved_post(const loop_handle& to, handler<void()> function);
  reserved_post(const reserved_post&) = delete;
  reserved_post& operator=(const reserved_post&) = delete;
  ~reserved_post();

  /// Posts the function, as `loop_handle::post` does. Returns false if the loop is gone, and
  /// then destroys the function. A second call does nothing and returns false.
  bool post() noexcept;

private:
  std::shared_ptr<detail::post_queue> box_;
  detail::post_chunk* chunk_;
};

}  // namespace eddy
