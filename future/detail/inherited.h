// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <atomic>
#include <cstddef>
#include <utility>

#include <eddy/loop/detail/recycler.h>

namespace eddy::detail {

class future_core;
class local_base;

/// The values of task_locals that hold somewhere: a list, the newest first, of
/// which this owns a share.
class local_values {
public:
  local_values() noexcept = default;
  /// Takes over what was just made.
  explicit local_values(local_base* newest) noexcept : newest_(newest) {}
  local_values(const local_values& other) noexcept;
  local_values(local_values&& other) noexcept : newest_(std::exchange(other.newest_, nullptr)) {}
  local_values& operator=(local_values&& other) noexcept {
    std::swap(newest_, other.newest_);
    return *this;
  }
  ~local_values();

  /// Those that hold for the coroutine that runs.
  [[nodiscard]] static local_values here() noexcept;

  /// The newest of that name; null if there is none. It lives as long as these do.
  [[nodiscard]] const local_base* find(const void* name) const noexcept;

  [[nodiscard]] explicit operator bool() const noexcept { return newest_ != nullptr; }

  /// Whether the program uses task_locals at all.
  [[nodiscard]] static bool used() noexcept { return used_.load(std::memory_order_relaxed); }

private:
  friend struct ambient;
  friend local_base;

  static std::atomic<bool> used_;

  local_base* newest_ = nullptr;
};

/// The values that spawned tasks have inherited, in a table of their loop.
struct task_values {
  /// It is spawned by the coroutine that runs. True if there is something to
  /// inherit, which then has to be forgotten. Errors: `std::bad_alloc`.
  static bool inherit(const future_core& by);
  [[nodiscard]] static const local_values& of(const future_core& which) noexcept;
  static void forget(const future_core& which) noexcept;
};

/// A value, and those that held before.
class local_base : public recycled {
public:
  explicit local_base(const void* name);
  local_base(const local_base&) = delete;
  local_base& operator=(const local_base&) = delete;
  virtual ~local_base() = default;

private:
  friend local_values;

  const void* name_;
  local_values before_;
  std::size_t shares_ = 1;
};

}  // namespace eddy::detail
