// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <eddy/net/buffer.h>
#include <eddy/net/shared_bytes.h>

namespace eddy::detail {

/// The bytes that a `write_queue` has not sent yet, in order: copies of small pieces, and shares of
/// others' bytes.
///
/// Copies lie behind each other in blocks of the block pool, so that many small pieces need few
/// buffers of a system call. An empty object keeps no block.
class queued_pieces {
public:
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

  /// Appends a copy of the bytes.
  /// Errors: `std::bad_alloc`; then nothing is appended.
  void append_copy(const_buffer bytes);
  /// Appends the bytes without a copy.
  /// Errors: `std::bad_alloc`; then nothing is appended.
  void append(const shared_bytes& bytes);

  /// The number of pieces.
  [[nodiscard]] std::size_t count() const noexcept { return pieces_.size() - begin_; }
  /// Stores the first pieces in `parts`, `most` bytes at most. Returns the part of `parts` that is
  /// used.
  [[nodiscard]] std::span<const const_buffer> first(std::span<const_buffer> parts,
                                                    std::size_t most) const noexcept;
  /// Removes the first `count` bytes.
  void pass(std::size_t count) noexcept;
  void clear() noexcept;

private:
  struct piece {
    shared_bytes owner;
    const std::byte* data;
    std::size_t size;
  };

  /// Makes space for new pieces, so that appending them cannot fail.
  void make_space(std::size_t pieces);

  std::vector<piece> pieces_;
  std::size_t begin_ = 0;      // the first piece that is left
  std::size_t size_ = 0;       // of all bytes
  shared_bytes tail_;          // the block that copies go to
  std::size_t tail_used_ = 0;  // bytes of `tail_`
};

}  // namespace eddy::detail
