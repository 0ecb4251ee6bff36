// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <optional>

#include <eddy/future/sync/detail/held_permits.h>
#include <eddy/future/sync/detail/permit_pool.h>
#include <eddy/future/sync/detail/permit_wait.h>
#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

class mutex;

namespace detail {
struct mutex_kind;
}

/// Holds a `mutex` locked, until it is unlocked or destroyed.
///
/// Lifetime: the mutex must outlive it.
class [[nodiscard("destroying a mutex_guard unlocks the mutex at once: keep it")]] mutex_guard
    : private detail::held_permits {
public:
  /// Holds no mutex.
  mutex_guard() noexcept = default;

  /// Returns whether this object holds a mutex.
  [[nodiscard]] bool locked() const noexcept { return held() != 0; }
  /// Unlocks the mutex now. The loop runs the next waiter later.
  void unlock() noexcept { give_back(); }

private:
  friend mutex;
  friend detail::mutex_kind;
  explicit mutex_guard(detail::permit_pool& of) noexcept : held_permits(of, 1) {}
};

/// Lets one task at a time use something, also across `co_await`.
///
///     eddy::mutex order;
///     ...
///     const eddy::mutex_guard mine = co_await order.lock();
///     co_await stream.write(header);
///     co_await stream.write(body);
///
/// Code without `co_await` needs no mutex, because the tasks of a loop run on one thread. The mutex
/// is granted first come, first served. A task that locks it twice waits for ever: the dump of the
/// loop shows the task.
///
/// Lifetime: the loop must outlive the mutex, and the mutex its guards and waiters. A mutex that is
/// destroyed earlier aborts the program.
class mutex {
public:
  /// Makes a mutex on the running loop. Aborts if no loop runs.
  mutex() noexcept : mutex(detail::current_loop("mutex")) {}
  /// Makes a mutex on `loop`.
  explicit mutex(event_loop& loop) noexcept : pool_(loop, 1, 1) {}
  ~mutex() {
    if (pool_.awaited() || pool_.free() == 0) {
      detail::misuse("a mutex was destroyed before its guards and waiters");
    }
  }

  /// `co_await m.lock()` locks the mutex when it is free, and gives a `mutex_guard`.
  ///
  /// Cancelling: if the mutex was granted to the waiter, it goes to the next one.
  detail::permit_operation<detail::mutex_kind> lock() noexcept;

  /// Locks the mutex if it is free and nobody waits for it.
  [[nodiscard]] std::optional<mutex_guard> try_lock() noexcept {
    if (!pool_.take(1)) return std::nullopt;
    return mutex_guard(pool_);
  }

  /// Returns whether the mutex is locked, or granted to a waiter.
  [[nodiscard]] bool locked() const noexcept { return pool_.free() == 0; }

private:
  detail::permit_pool pool_;
};

// implementation

namespace detail {

struct mutex_kind {
  static constexpr const char* waits_for = "a mutex";
  static constexpr const char* other_loop = "a mutex was awaited on another loop than its own";
  static mutex_guard make(permit_pool& of, std::size_t) noexcept { return mutex_guard(of); }
};

}  // namespace detail

inline detail::permit_operation<detail::mutex_kind> mutex::lock() noexcept { return {pool_, 1}; }

}  // namespace eddy
