// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <utility>

#include <eddy/future/sync/detail/permit_pool.h>

namespace eddy::detail {

/// Owns permits of a pool, and gives them back at its end: the base class of `permit`,
/// `mutex_guard` and `shared_mutex_guard`.
class held_permits {
public:
  held_permits() noexcept = default;
  held_permits(permit_pool& from, std::size_t count) noexcept
      : from_(count != 0 ? &from : nullptr), count_(count) {}
  held_permits(held_permits&& other) noexcept
      : from_(std::exchange(other.from_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  held_permits& operator=(held_permits&& other) noexcept {
    held_permits before(std::move(other));
    std::swap(from_, before.from_);
    std::swap(count_, before.count_);
    return *this;
  }
  ~held_permits() { give_back(); }

protected:
  [[nodiscard]] std::size_t held() const noexcept { return count_; }
  void give_back() noexcept {
    if (from_ == nullptr) return;
    std::exchange(from_, nullptr)->give(std::exchange(count_, 0));
  }
  /// Moves `count` of the permits, which must be there, into an object of their own.
  [[nodiscard]] held_permits split_off(std::size_t count) noexcept {
    if (count == count_) return std::move(*this);
    if (count == 0) return {};
    count_ -= count;
    return {*from_, count};
  }

private:
  permit_pool* from_ = nullptr;  // null if there are no permits
  std::size_t count_ = 0;
};

}  // namespace eddy::detail
