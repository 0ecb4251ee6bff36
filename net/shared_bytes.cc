// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/shared_bytes.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <new>

#include <eddy/loop/detail/block_pool.h>

namespace eddy {

/// The bytes and the number of their owners. The bytes lie behind the block, or in a string.
struct detail::shared_block {
  std::atomic<std::size_t> owners{1};
  std::byte* bytes = nullptr;
  std::size_t size = 0;
  bool of_string = false;
};

namespace {

struct string_block : detail::shared_block, detail::recycled {
  std::string text;
};

}  // namespace

shared_bytes shared_bytes::make(std::size_t capacity) {
  if (capacity > SIZE_MAX - sizeof(detail::shared_block)) throw std::bad_alloc();
  void* const memory = detail::allocate(sizeof(detail::shared_block) + capacity);
  auto* const block = new (memory) detail::shared_block;
  block->bytes = reinterpret_cast<std::byte*>(block + 1);
  block->size = capacity;
  return shared_bytes(block);
}

shared_bytes::shared_bytes(const const_buffer bytes) {
  if (bytes.size() == 0) return;
  shared_bytes made = make(bytes.size());
  std::copy_n(bytes.data(), bytes.size(), made.writable());
  std::swap(block_, made.block_);
}

detail::shared_block* shared_bytes::take(std::string& text) {
  if (text.empty()) return nullptr;
  auto* const block = new string_block;
  block->text = std::move(text);
  block->bytes = reinterpret_cast<std::byte*>(block->text.data());
  block->size = block->text.size();
  block->of_string = true;
  return block;
}

shared_bytes::shared_bytes(const shared_bytes& other) noexcept : block_(other.block_) {
  if (block_ != nullptr) block_->owners.fetch_add(1, std::memory_order_relaxed);
}

void shared_bytes::release() noexcept {
  // The last owner must see all accesses of the others before it frees the bytes.
  if (block_->owners.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (block_->of_string) {
    delete static_cast<string_block*>(block_);
    return;
  }
  const std::size_t size = sizeof(detail::shared_block) + block_->size;
  block_->~shared_block();
  detail::deallocate(block_, size);
}

const std::byte* shared_bytes::data() const noexcept {
  return block_ == nullptr ? nullptr : block_->bytes;
}

std::size_t shared_bytes::size() const noexcept { return block_ == nullptr ? 0 : block_->size; }

std::byte* shared_bytes::writable() noexcept { return block_->bytes; }

}  // namespace eddy
