// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <atomic>
#include <cstdint>

namespace eddy::detail {

/// The number of the description that this thread makes: of a `dump`, or of the words of a time
/// limit. A shared result remembers in which it was told, and is told once in each: layers of
/// shared results, each awaited by all of the next layer, would take as many lines as there are
/// ways through them.
inline constinit thread_local std::uint64_t this_description [[gnu::tls_model("initial-exec")]] = 0;

/// Begins another one, of a number that no other thread's has.
inline void begin_description() noexcept {
  static constinit std::atomic<std::uint64_t> last{0};
  this_description = last.fetch_add(1, std::memory_order_relaxed) + 1;
}

}  // namespace eddy::detail
