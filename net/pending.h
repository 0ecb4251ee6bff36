// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <utility>

#include <eddy/loop/detail/language.h>

namespace eddy {

namespace detail {
class delivery_base;
}

/// An operation that was given a handler and belongs to no object, such as a
/// `connect` or a `resolve`.
///
/// Lifetime: the loop outlives it. The handler may destroy it.
/// Cancelling: destroying it, or assigning to it, ends the operation; the
/// handler is dropped.
class [[nodiscard("destroying a pending cancels its operation: keep it")]] pending {
public:
  /// None.
  pending() noexcept = default;
  pending(pending&& other) noexcept : delivery_(other.release()) { hold(); }
  pending& operator=(pending&& other) noexcept {
    pending before(std::move(other));
    std::swap(delivery_, before.delivery_);
    hold();
    before.hold();
    return *this;
  }
  ~pending() { stop(); }

  void stop() noexcept;

  /// Whether the handler will be called.
  [[nodiscard]] bool active() const noexcept;

private:
  friend detail::delivery_base;

  explicit pending(detail::delivery_base& d) noexcept : delivery_(&d) { hold(); }
  void hold() noexcept;
  detail::delivery_base* release() noexcept { return std::exchange(delivery_, nullptr); }

  detail::delivery_base* delivery_ = nullptr;
};

}  // namespace eddy
