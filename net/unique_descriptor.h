// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <utility>

#include <eddy/loop/detail/language.h>

namespace eddy {

/// Owns a descriptor and closes it when it is destroyed.
///
/// Descriptors that arrive over a Unix socket have this type. It belongs to no loop.
/// Threads: any, one at a time.
class [[nodiscard]] unique_descriptor {
public:
  /// Owns nothing.
  unique_descriptor() noexcept = default;
  /// Owns `number`, or nothing if `number` is negative.
  explicit unique_descriptor(int number) noexcept : number_(number) {}
  unique_descriptor(unique_descriptor&& other) noexcept : number_(other.release()) {}
  /// Closes this descriptor and takes over the other one.
  unique_descriptor& operator=(unique_descriptor&& other) noexcept {
    unique_descriptor before(std::move(other));
    std::swap(number_, before.number_);
    return *this;
  }
  /// Closes the descriptor.
  ~unique_descriptor() { close(); }

  /// The descriptor; negative if this owns nothing.
  [[nodiscard]] int number() const noexcept { return number_; }
  /// Whether this owns a descriptor.
  [[nodiscard]] explicit operator bool() const noexcept { return number_ >= 0; }

  /// Gives up the descriptor and returns it: the caller closes it.
  [[nodiscard]] int release() noexcept { return std::exchange(number_, -1); }
  /// Closes the descriptor. Does nothing if this owns nothing.
  void close() noexcept;

private:
  int number_ = -1;
};

}  // namespace eddy
