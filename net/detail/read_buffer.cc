// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/net/detail/read_buffer.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace eddy::detail {

std::span<char> read_buffer::space() {
  const std::size_t kept = size();
  if (kept == 0) begin_ = end_ = 0;
  // A short rest of the memory would make short reads: move the bytes to the front instead. A
  // quarter keeps the cost of moving below that of reading.
  if (begin_ != 0 && capacity_ - end_ < capacity_ / 4 + 1) {
    std::memmove(bytes_.get(), bytes_.get() + begin_, kept);
    begin_ = 0;
    end_ = kept;
  }
  if (end_ == capacity_) {
    const std::size_t larger = std::max(first_capacity_, 2 * capacity_);
    auto bytes = std::make_unique_for_overwrite<char[]>(larger);
    if (kept != 0) std::memcpy(bytes.get(), bytes_.get() + begin_, kept);
    bytes_ = std::move(bytes);
    capacity_ = larger;
    begin_ = 0;
    end_ = kept;
  }
  return {bytes_.get() + end_, capacity_ - end_};
}

}  // namespace eddy::detail
