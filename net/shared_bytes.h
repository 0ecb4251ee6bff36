// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include <eddy/net/buffer.h>

namespace eddy {

namespace detail {
struct shared_block;
class queued_pieces;
}  // namespace detail

/// Immutable bytes that several owners share, such as one message for many subscribers.
///
/// Copying a shared_bytes copies no bytes. The last owner frees them. A `write_queue` takes a
/// shared_bytes without a copy, and releases it when the kernel has the bytes.
///
/// Threads: any. Owners on several threads may share the same bytes; each object belongs to one
/// thread at a time.
class shared_bytes {
public:
  /// No bytes.
  shared_bytes() noexcept = default;

  /// Copies `bytes`, with one allocation.
  /// Errors: `std::bad_alloc`.
  explicit shared_bytes(const_buffer bytes);

  /// Takes over the bytes of a string that is moved, without a copy of the bytes.
  /// Errors: `std::bad_alloc`; then `text` is unchanged.
  template <class Text>
    requires std::is_same_v<Text, std::string>
  explicit shared_bytes(Text&& text) : block_(take(text)) {}

  shared_bytes(const shared_bytes& other) noexcept;
  shared_bytes(shared_bytes&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  shared_bytes& operator=(shared_bytes other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~shared_bytes() {
    if (block_ != nullptr) release();
  }

  [[nodiscard]] const std::byte* data() const noexcept;
  [[nodiscard]] std::size_t size() const noexcept;
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  operator std::span<const std::byte>() const noexcept { return {data(), size()}; }

private:
  friend class detail::queued_pieces;

  explicit shared_bytes(detail::shared_block* block) noexcept : block_(block) {}

  static detail::shared_block* take(std::string& text);
  /// Makes `capacity` bytes without a value, which the caller writes before it shares them.
  static shared_bytes make(std::size_t capacity);
  [[nodiscard]] std::byte* writable() noexcept;
  void release() noexcept;

  detail::shared_block* block_ = nullptr;
};

}  // namespace eddy
