// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/queued_pieces.h>

#include <algorithm>

namespace eddy::detail {

namespace {

// With its header, a block of copies fits the largest blocks that the block pool keeps: 2 KiB.
constexpr std::size_t block_size = 2000;
// An empty queue keeps the memory of so many pieces: 1 KiB.
constexpr std::size_t kept_pieces = 32;

}  // namespace

void queued_pieces::make_space(std::size_t pieces) {
  if (pieces_.capacity() - pieces_.size() >= pieces) return;
  if (begin_ > pieces_.size() / 2 && begin_ >= pieces) {
    pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<std::ptrdiff_t>(begin_));
    begin_ = 0;
  } else {
    pieces_.reserve(std::max<std::size_t>(8, 2 * pieces_.capacity()));
  }
}

void queued_pieces::append_copy(const const_buffer bytes) {
  if (bytes.size() == 0) return;
  const std::size_t before = std::min(tail_.size() - tail_used_, bytes.size());
  const std::size_t rest = bytes.size() - before;
  // All that can fail comes first.
  make_space(2);
  shared_bytes fresh;
  if (rest != 0) fresh = shared_bytes::make(std::max(rest, block_size));
  if (before != 0) {
    std::byte* const to = tail_.writable() + tail_used_;
    std::copy_n(bytes.data(), before, to);
    tail_used_ += before;
    if (pieces_.size() > begin_ && pieces_.back().data + pieces_.back().size == to) {
      pieces_.back().size += before;
    } else {
      pieces_.push_back({tail_, to, before});
    }
  }
  if (rest != 0) {
    std::copy_n(bytes.data() + before, rest, fresh.writable());
    pieces_.push_back({fresh, fresh.data(), rest});
    tail_ = std::move(fresh);
    tail_used_ = rest;
  }
  size_ += bytes.size();
}

void queued_pieces::append(const shared_bytes& bytes) {
  if (bytes.empty()) return;
  make_space(1);
  pieces_.push_back({bytes, bytes.data(), bytes.size()});
  size_ += bytes.size();
}

std::span<const const_buffer> queued_pieces::first(std::span<const_buffer> parts,
                                                   std::size_t most) const noexcept {
  std::size_t count = 0;
  std::size_t bytes = 0;
  for (std::size_t i = begin_; i < pieces_.size() && count < parts.size() && bytes < most; ++i) {
    const std::size_t size = std::min(pieces_[i].size, most - bytes);
    parts[count++] = std::span(pieces_[i].data, size);
    bytes += size;
  }
  return parts.first(count);
}

void queued_pieces::pass(std::size_t count) noexcept {
  size_ -= count;
  while (count != 0) {
    piece& next = pieces_[begin_];
    if (count < next.size) {
      next.data += count;
      next.size -= count;
      return;
    }
    count -= next.size;
    next.owner = shared_bytes();
    ++begin_;
  }
  if (size_ == 0) clear();
}

void queued_pieces::clear() noexcept {
  size_ = begin_ = tail_used_ = 0;
  tail_ = shared_bytes();
  pieces_.clear();
  if (pieces_.capacity() > kept_pieces) pieces_ = {};
}

}  // namespace eddy::detail
