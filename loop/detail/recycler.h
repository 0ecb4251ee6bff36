// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <cstddef>
#include <new>
#include <utility>

namespace eddy::detail {

/// Memory for coroutine frames and small nodes, from free lists of this
/// thread, so that a steady state calls `malloc` no more.
///
/// Blocks of up to 2 KiB are kept by size, up to 1 MiB a size; the rest goes
/// back to the heap. Under AddressSanitizer nothing is kept, so that a use
/// after free is seen. A block may be freed on another thread than the one that
/// allocated it.
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

// implementation

struct free_block {
  free_block* next;
};

struct free_list {
  free_block* first;
  std::size_t room;  // how many more may be kept; none before the thread's first and after its end
};

/// Of which list a block is: those of 8, 24, 40 bytes and so on, because glibc
/// has chunks of 16 bytes' steps and takes 8 of each for itself.
[[nodiscard]] constexpr std::size_t list_of(std::size_t size) noexcept { return (size + 7) / 16; }

extern constinit thread_local std::array<free_list, list_of(2048) + 1> free_lists;

// What the lists have no answer to.
[[nodiscard]] void* allocate_anew(std::size_t size);
void deallocate_surplus(void* block, std::size_t size) noexcept;

inline void* allocate(std::size_t size) {
  if (const std::size_t which = list_of(size); which < free_lists.size()) {
    free_list& list = free_lists[which];
    if (list.first != nullptr) {
      ++list.room;
      return std::exchange(list.first, list.first->next);
    }
  }
  return allocate_anew(size);
}

inline void deallocate(void* block, std::size_t size) noexcept {
  if (const std::size_t which = list_of(size); which < free_lists.size()) {
    free_list& list = free_lists[which];
    if (list.room != 0) {
      --list.room;
      list.first = new (block) free_block{list.first};
      return;
    }
  }
  deallocate_surplus(block, size);
}

}  // namespace eddy::detail
