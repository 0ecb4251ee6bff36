// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace eddy::detail {

/// Bytes that were read from a stream and not taken yet.
///
/// The memory is allocated at the first read and grows if a unit needs it. Taking bytes moves no
/// memory, so views of them stay valid until `space` is called.
class read_buffer {
public:
  explicit read_buffer(std::size_t first_capacity) noexcept : first_capacity_(first_capacity) {}

  [[nodiscard]] const char* data() const noexcept { return bytes_.get() + begin_; }
  [[nodiscard]] std::size_t size() const noexcept { return end_ - begin_; }
  /// Whether the stream has ended: no further bytes follow those that are here.
  [[nodiscard]] bool ended() const noexcept { return ended_; }

  void consume(std::size_t count) noexcept { begin_ += count; }

  /// Free memory for the next read, at least a byte. Views of the bytes become invalid.
  /// Errors: `std::bad_alloc`.
  [[nodiscard]] std::span<char> space();
  /// Notes that a read has filled `count` bytes of the space; 0 is the end of the stream.
  void filled(std::size_t count) noexcept {
    end_ += count;
    ended_ = ended_ || count == 0;
  }

private:
  std::unique_ptr<char[]> bytes_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t capacity_ = 0;
  std::size_t first_capacity_;
  bool ended_ = false;
};

}  // namespace eddy::detail
