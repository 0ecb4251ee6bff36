// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include <eddy/future/sync/detail/held_permits.h>
#include <eddy/future/sync/detail/permit_pool.h>
#include <eddy/future/sync/detail/permit_wait.h>
#include <eddy/loop/detail/current_loop.h>
#include <eddy/loop/detail/misuse.h>
#include <eddy/loop/event_loop.h>

namespace eddy {

class semaphore;

namespace detail {
struct semaphore_kind;
}

/// Permits that were taken from a `semaphore`. Its destructor gives them back.
///
/// A permit can be moved, for example into the task that it allows to run.
/// Lifetime: the semaphore must outlive its permits.
class [[nodiscard("destroying a permit gives it back at once: keep it")]] permit
    : private detail::held_permits {
public:
  /// Holds no permits.
  permit() noexcept = default;

  /// Returns how many permits this object holds.
  [[nodiscard]] std::size_t count() const noexcept { return held(); }

  /// Gives all permits back now. The loop runs the waiters that get them later.
  void release() noexcept { give_back(); }

  /// Moves `count` of the permits into an object of their own. More than there are aborts the
  /// program.
  permit split(std::size_t count) noexcept {
    if (count > held()) detail::misuse("more permits were split off than the permit holds");
    return permit(split_off(count));
  }

private:
  friend semaphore;
  friend detail::semaphore_kind;
  explicit permit(held_permits&& all) noexcept : held_permits(std::move(all)) {}
  permit(detail::permit_pool& from, std::size_t count) noexcept : held_permits(from, count) {}
};

/// Lets at most a number of tasks do something at a time, such as hold a connection.
///
///     eddy::semaphore places(10);
///     ...
///     const eddy::permit place = co_await places.acquire();
///
/// Permits are granted first come, first served. A waiter for many permits is not passed over by
/// waiters for few.
///
/// Lifetime: the loop must outlive the semaphore, and the semaphore its permits and waiters. A
/// semaphore that is destroyed earlier aborts the program.
class semaphore {
public:
  static constexpr std::size_t most = SIZE_MAX / 2;

  /// Makes a semaphore with `permits` on the running loop. Aborts if no loop runs.
  explicit semaphore(std::size_t permits) noexcept
      : semaphore(detail::current_loop("semaphore"), permits) {}
  /// Makes a semaphore with `permits` on `loop`. More than `most` abort the program.
  semaphore(event_loop& loop, std::size_t permits) noexcept
      : pool_(loop, permits, most), total_(permits) {
    if (permits > most) too_many();
  }
  ~semaphore() {
    if (pool_.awaited() || pool_.free() != total_) {
      detail::misuse("a semaphore was destroyed before its permits and waiters");
    }
  }

  /// `co_await s.acquire(n)` takes `n` permits at once, when they are free, and gives a `permit`.
  ///
  /// More permits than the semaphore has abort the program, because the wait would never end.
  /// Cancelling: permits that were granted to the waiter go to the next one.
  detail::permit_operation<detail::semaphore_kind> acquire(std::size_t n = 1) noexcept;

  /// Takes `n` permits, unless they are not free or others wait for permits.
  [[nodiscard]] std::optional<permit> try_acquire(std::size_t n = 1) noexcept {
    if (!pool_.take(n)) return std::nullopt;
    return permit(pool_, n);
  }

  /// Adds `n` permits to those of the semaphore.
  void add(std::size_t n) noexcept {
    if (n > most - total_) too_many();
    total_ += n;
    pool_.give(n);
  }

  /// Returns how many permits are free: taken by nobody, and granted to nobody.
  [[nodiscard]] std::size_t available() const noexcept { return pool_.free(); }

private:
  [[noreturn]] static void too_many() noexcept {
    detail::misuse("a semaphore has at most semaphore::most permits");
  }

  detail::permit_pool pool_;
  std::size_t total_;
};

// implementation

namespace detail {

struct semaphore_kind {
  static constexpr const char* waits_for = "a permit of a semaphore";
  static constexpr const char* other_loop = "a semaphore was awaited on another loop than its own";
  static permit make(permit_pool& from, std::size_t count) noexcept { return {from, count}; }
};

}  // namespace detail

inline detail::permit_operation<detail::semaphore_kind> semaphore::acquire(std::size_t n) noexcept {
  if (n > total_) detail::misuse("more permits were awaited than the semaphore has");
  return {pool_, n};
}

}  // namespace eddy
