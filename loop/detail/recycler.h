// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>

namespace eddy::detail {

/// Memory for coroutine frames and small nodes, from free lists of this
/// thread, so that a steady state calls `malloc` no more.
///
/// Blocks of up to 2 KiB are kept by size, in steps of 32 bytes, up to 1 MiB a
/// size; the rest goes back to the heap. Under AddressSanitizer nothing is
/// kept, so that a use after free is seen. A block may be freed on another
/// thread than the one that allocated it.
///
/// Errors: `std::bad_alloc`.
/// Threads: any; each has lists of its own, given back when it ends.
[[nodiscard]] void* allocate(std::size_t size);
void deallocate(void* block, std::size_t size) noexcept;

/// A base class whose objects come from the recycler.
struct recycled {
  static void* operator new(std::size_t size) { return allocate(size); }
  static void* operator new[](std::size_t size) { return allocate(size); }
  static void operator delete(void* block, std::size_t size) noexcept { deallocate(block, size); }
  static void operator delete[](void* block, std::size_t size) noexcept { deallocate(block, size); }
};

}  // namespace eddy::detail
