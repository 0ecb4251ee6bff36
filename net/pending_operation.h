// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <utility>

#include <eddy/loop/detail/language.h>

namespace eddy {

namespace detail {
class delivery_base;
}

/// Owns an operation that was started with a handler: a `connect` or a `resolve`.
///
/// Lifetime: the loop must outlive this object. The handler may destroy this object.
/// Cancelling: destroying this object, or assigning another one to it, cancels the operation. Its
/// handler is then destroyed and never called.
class [[nodiscard(
    "destroying a pending_operation cancels the operation: keep the object")]] pending_operation {
public:
  /// Owns no operation.
  pending_operation() noexcept = default;
  pending_operation(pending_operation&& other) noexcept : delivery_(other.release()) { attach(); }
  pending_operation& operator=(pending_operation&& other) noexcept {
    pending_operation before(std::move(other));
    std::swap(delivery_, before.delivery_);
    attach();
    before.attach();
    return *this;
  }
  ~pending_operation() { stop(); }

  /// Cancels the operation: its handler is destroyed and never called. Does nothing if there is no
  /// pending operation.
  void stop() noexcept;

  /// Whether an operation is pending: its handler was not called yet, and nothing has cancelled it.
  [[nodiscard]] bool active() const noexcept;

private:
  friend detail::delivery_base;

  // The delivery keeps a pointer to its owner, to tell it that the handler is called.
  explicit pending_operation(detail::delivery_base& d) noexcept : delivery_(&d) { attach(); }
  void attach() noexcept;
  detail::delivery_base* release() noexcept { return std::exchange(delivery_, nullptr); }

  detail::delivery_base* delivery_ = nullptr;
};

}  // namespace eddy
