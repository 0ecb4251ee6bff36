// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/description.h>

#include <algorithm>
#include <atomic>

namespace eddy {

namespace {

// The process has one counter: an object may be described on several threads in turn.
constinit std::atomic<std::uint64_t> descriptions{0};

}  // namespace

description::description(int depth) noexcept
    : depth_(depth),
      last_(depth - 1),
      number_(descriptions.fetch_add(1, std::memory_order_relaxed) + 1) {}

void description::add(std::string_view words) {
  const std::string prefixed = std::exchange(prefix_, {}).append(words);
  node added = std::exchange(next_, {});
  added.words = prefixed;
  added.depth = last_ = std::min(depth_, last_ + 1);
  write(added);
}

}  // namespace eddy
