// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <atomic>

#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/detail/counted.h>

namespace eddy::detail {

class future_core;

/// A value in a list of `local_values`. It owns a share of the older values.
class local_base : public counted<local_base>, public recycled {
public:
  explicit local_base(const void* name);
  virtual ~local_base();

private:
  friend class local_values;

  const void* name_;
  counted_ptr<local_base> before_;
};

/// The values of `task_local`s that a coroutine can read: a share of a list, the newest first.
class local_values {
public:
  local_values() noexcept = default;
  /// Takes over a value that was just made.
  explicit local_values(local_base* newest) noexcept : newest_(newest) {}

  /// The values of the running coroutine.
  [[nodiscard]] static local_values here() noexcept;

  /// The newest value of the key `name`, or null. It lives as long as this.
  [[nodiscard]] const local_base* find(const void* name) const noexcept;

  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(newest_); }

  /// Whether the program uses a `task_local` at all.
  [[nodiscard]] static bool used() noexcept { return used_.load(std::memory_order_relaxed); }

private:
  friend local_base;

  static std::atomic<bool> used_;

  counted_ptr<local_base> newest_;
};

/// The task_locals that spawned tasks have inherited, in a table of their loop. Few programs use
/// task_locals, so the table costs a task no member.
struct task_values {
  /// Stores the task_locals of the running coroutine for `by`, which it spawns. True if there are
  /// any: `forget` must be called then. Errors: `std::bad_alloc`.
  static bool inherit(const future_core& by);
  [[nodiscard]] static const local_values& of(const future_core& which) noexcept;
  static void forget(const future_core& which) noexcept;
};

}  // namespace eddy::detail
