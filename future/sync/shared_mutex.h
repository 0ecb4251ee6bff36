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

class shared_mutex;

namespace detail {
struct exclusive_kind;
struct shared_kind;
}  // namespace detail

/// Holds a `shared_mutex` locked, alone or shared, until it is unlocked or destroyed.
///
/// Lifetime: the mutex must outlive it.
class [[nodiscard("destroying a guard unlocks the mutex at once: keep it")]] shared_mutex_guard
    : private detail::held_permits {
public:
  /// Holds no mutex.
  shared_mutex_guard() noexcept = default;

  /// Returns whether this object holds a mutex.
  [[nodiscard]] bool locked() const noexcept { return held() != 0; }
  /// Unlocks the mutex now. The loop runs the next waiters later.
  void unlock() noexcept { give_back(); }

private:
  friend shared_mutex;
  friend detail::exclusive_kind;
  friend detail::shared_kind;
  shared_mutex_guard(detail::permit_pool& of, std::size_t count) noexcept
      : held_permits(of, count) {}
};

/// Lets one task write something, or several tasks read it, also across `co_await`.
///
/// Locks are granted first come, first served: a reader that comes after a waiting writer waits
/// behind it, so neither readers nor writers wait for ever. A task that holds a shared lock must
/// not await a second one: with a writer between, both would wait for ever.
///
/// Lifetime: the loop must outlive the mutex, and the mutex its guards and waiters. A mutex that is
/// destroyed earlier aborts the program.
class shared_mutex {
public:
  /// Makes a mutex on the running loop. Aborts if no loop runs.
  shared_mutex() noexcept : shared_mutex(detail::current_loop("shared_mutex")) {}
  /// Makes a mutex on `loop`.
  explicit shared_mutex(event_loop& loop) noexcept : pool_(loop, all, all) {}
  ~shared_mutex() {
    if (pool_.awaited() || pool_.free() != all) {
      detail::misuse("a shared_mutex was destroyed before its guards and waiters");
    }
  }

  /// `co_await m.lock()` locks the mutex alone, and gives a guard.
  ///
  /// Cancelling: if the mutex was granted to the waiter, it goes to the next ones.
  detail::permit_operation<detail::exclusive_kind> lock() noexcept;
  /// `co_await m.lock_shared()` locks the mutex together with other readers, and gives a guard.
  ///
  /// Cancelling: if the mutex was granted to the waiter, it goes to the next ones.
  detail::permit_operation<detail::shared_kind> lock_shared() noexcept;

  /// Locks the mutex alone, if nobody holds it or waits for it.
  [[nodiscard]] std::optional<shared_mutex_guard> try_lock() noexcept { return try_take(all); }
  /// Locks the mutex together with other readers, if nobody holds it alone or waits for it.
  [[nodiscard]] std::optional<shared_mutex_guard> try_lock_shared() noexcept { return try_take(1); }

private:
  // A reader takes one permit, and a writer takes all.
  static constexpr std::size_t all = std::size_t{1} << 32;

  std::optional<shared_mutex_guard> try_take(std::size_t count) noexcept {
    if (!pool_.take(count)) return std::nullopt;
    return shared_mutex_guard(pool_, count);
  }

  detail::permit_pool pool_;
};

// implementation

namespace detail {

struct exclusive_kind {
  static constexpr const char* waits_for = "a shared_mutex, to lock it alone";
  static constexpr const char* other_loop =
      "a shared_mutex was awaited on another loop than its own";
  static shared_mutex_guard make(permit_pool& of, std::size_t count) noexcept {
    return {of, count};
  }
};

struct shared_kind {
  static constexpr const char* waits_for = "a shared_mutex, to share it";
  static constexpr const char* other_loop = exclusive_kind::other_loop;
  static shared_mutex_guard make(permit_pool& of, std::size_t count) noexcept {
    return {of, count};
  }
};

}  // namespace detail

inline detail::permit_operation<detail::exclusive_kind> shared_mutex::lock() noexcept {
  return {pool_, all};
}
inline detail::permit_operation<detail::shared_kind> shared_mutex::lock_shared() noexcept {
  return {pool_, 1};
}

}  // namespace eddy
