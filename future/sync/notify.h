// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>

#include <eddy/future/sync/detail/permit_pool.h>
#include <eddy/future/sync/detail/permit_wait.h>
#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

namespace detail {
struct notify_kind;
}

/// Wakes tasks that look at a state of the program again when it has changed.
///
///     while (queue.empty()) co_await changed.wait();
///     ...
///     queue.push_back(work);
///     changed.one();
///
/// If nobody waits, `one` is kept for the next waiter; a second `one` before that is the same as
/// the first. So a change between the look at the state and the wait is not missed.
///
/// Lifetime: the loop must outlive this object, and this object its waiters: it aborts the program
/// if it is destroyed earlier.
class notify {
public:
  /// Makes an object on the running loop. Aborts if no loop runs.
  notify() noexcept : notify(detail::current_loop("notify")) {}
  /// Makes an object on `loop`.
  explicit notify(event_loop& loop) noexcept : pool_(loop, 0, 1) {}
  ~notify() {
    if (pool_.awaited()) detail::misuse("a notify was destroyed before its waiters");
  }

  /// Wakes the waiter that has waited for longest, or the next one.
  void one() noexcept { pool_.give(1); }
  /// Wakes all waiters, and keeps nothing for later ones.
  void all() noexcept { pool_.release_all(); }

  /// `co_await n.wait()` suspends the coroutine until it is woken.
  ///
  /// Waiters are woken in the order in which they began to wait.
  /// Cancelling: if `one` has woken the waiter, it wakes the next waiter instead.
  detail::permit_operation<detail::notify_kind> wait() noexcept;

private:
  detail::permit_pool pool_;
};

// implementation

namespace detail {

struct notify_kind {
  static constexpr const char* waits_for = "a notify";
  static constexpr const char* other_loop = "a notify was awaited on another loop than its own";
  static void make(permit_pool&, std::size_t) noexcept {}
};

}  // namespace detail

inline detail::permit_operation<detail::notify_kind> notify::wait() noexcept { return {pool_, 1}; }

}  // namespace eddy
