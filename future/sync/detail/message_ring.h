// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace eddy::detail {

/// A queue in one block of memory, which doubles when it is full.
///
/// When the queue gets empty, a block of more than 64 KiB goes back.
template <class T>
class message_ring {
  static_assert(std::is_nothrow_move_constructible_v<T>,
                "a message must have a move constructor that does not throw: use a "
                "std::unique_ptr");

public:
  message_ring() noexcept = default;
  message_ring(const message_ring&) = delete;
  message_ring& operator=(const message_ring&) = delete;
  ~message_ring() {
    while (size_ != 0) drop_front();
    free_block();
  }

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] T& front() noexcept { return block_[first_]; }

  /// Makes room for `more` further messages. Errors: `std::bad_alloc`.
  void make_room(std::size_t more) {
    if (capacity_ - size_ < more) grow(size_ + more);
  }
  /// There must be room.
  void push_back(T&& value) noexcept {
    std::construct_at(block_ + ((first_ + size_) & (capacity_ - 1)), std::move(value));
    ++size_;
  }
  [[nodiscard]] T take_front() noexcept {
    T value(std::move(front()));
    drop_front();
    return value;
  }
  void drop_front() noexcept {
    std::destroy_at(block_ + first_);
    first_ = (first_ + 1) & (capacity_ - 1);
    if (--size_ == 0 && capacity_ > most_kept) free_block();
  }

private:
  static constexpr std::size_t least = 4;
  static constexpr std::size_t most_kept = std::max(std::size_t{64} * 1024 / sizeof(T), least);

  void grow(std::size_t needed) {
    const std::size_t capacity = std::max(std::bit_ceil(needed), least);
    T* const block = std::allocator<T>().allocate(capacity);
    for (std::size_t i = 0; i != size_; ++i) {
      T& from = block_[(first_ + i) & (capacity_ - 1)];
      std::construct_at(block + i, std::move(from));
      std::destroy_at(&from);
    }
    free_block();
    block_ = block;
    capacity_ = capacity;
    first_ = 0;
  }
  void free_block() noexcept {
    if (block_ != nullptr) std::allocator<T>().deallocate(block_, capacity_);
    block_ = nullptr;
    capacity_ = first_ = 0;
  }

  T* block_ = nullptr;
  std::size_t capacity_ = 0;  // zero or a power of two
  std::size_t first_ = 0;
  std::size_t size_ = 0;
};

}  // namespace eddy::detail
