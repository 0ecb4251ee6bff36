// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <atomic>
#include <cstdint>

namespace eddy::detail {

/// How many descriptions of what waits were begun in this process: a `dump`, the words of a
/// time limit. Something that several wait for remembers in which it was told, and is told
/// once in each: layers of it, each awaited by all of the next one, would take as many lines
/// as there are ways through them.
inline constinit std::atomic<std::uint64_t> descriptions{0};

inline void begin_description() noexcept { descriptions.fetch_add(1, std::memory_order_relaxed); }

}  // namespace eddy::detail
