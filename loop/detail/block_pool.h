// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <new>
#include <utility>

namespace eddy::detail {

/// Allocates memory for coroutine frames and small nodes from free lists of this thread, so that
/// the steady state does not call `malloc`.
///
/// The lists keep blocks of up to 2 KiB by size, up to 4 MiB per thread; other blocks go back to
/// the heap. Under AddressSanitizer the lists keep nothing, so that a use after free is found. A
/// block may be freed on another thread than the one that allocated it.
///
/// Errors: `std::bad_alloc`.
/// Threads: any. Each thread has its own lists, and gives them back when it ends.
[[nodiscard]] void* allocate(std::size_t size);
void deallocate(void* block, std::size_t size) noexcept;
[[nodiscard]] void* allocate_aligned(std::size_t size, std::align_val_t alignment);

/// A base class whose objects come from the block pool.
struct recycled {
  static void* operator new(std::size_t size) { return allocate(size); }
  static void* operator new[](std::size_t size) { return allocate(size); }
  static void operator delete(void* block, std::size_t size) noexcept { deallocate(block, size); }
  static void operator delete[](void* block, std::size_t size) noexcept { deallocate(block, size); }

  // Objects with a larger alignment than a block come from the heap.
  static void* operator new(std::size_t size, std::align_val_t alignment) {
    return allocate_aligned(size, alignment);
  }
  static void operator delete(void* block, std::size_t, std::align_val_t alignment) noexcept {
    ::operator delete(block, alignment);
  }
};

/// Makes allocations of this thread fail, for tests. During its lifetime nothing is recycled, so
/// every allocation counts.
///
/// A thread has at most one such object at a time.
class failing_allocations {
public:
  enum class times : bool { once, for_good };

  /// Lets `spared` allocations succeed and fails the next one; with `for_good`, also all later
  /// ones.
  explicit failing_allocations(std::size_t spared, times how_often) noexcept;
  failing_allocations(const failing_allocations&) = delete;
  failing_allocations& operator=(const failing_allocations&) = delete;
  ~failing_allocations();

  /// Returns the number of allocations so far. `failed` returns whether one of them has failed.
  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  [[nodiscard]] bool failed() const noexcept { return count_ > spared_; }

  /// Counts an allocation. True if it has to fail.
  [[nodiscard]] static bool next_fails() noexcept;

  /// Lets allocations in its scope succeed, and does not count them.
  class pardon {
  public:
    pardon() noexcept;
    pardon(const pardon&) = delete;
    pardon& operator=(const pardon&) = delete;
    ~pardon();

  private:
    failing_allocations* spared_;
  };

private:
  std::size_t count_ = 0;
  std::size_t spared_;
  times how_often_;
};

/// The content of a free block.
struct free_block {
  free_block* next;
};

/// Returns blocks of one size from the thread that frees them to the threads that allocate them.
/// The pool's own lists do not do this.
///
/// The owner offers its freed blocks as one chain, and another thread takes the whole chain. So
/// no block can be taken, returned and mistaken for the earlier one (the ABA problem).
///
/// Lifetime: the destructor frees the blocks that nobody took.
class block_exchange {
public:
  explicit block_exchange(std::size_t size) noexcept : size_(size) {}
  block_exchange(const block_exchange&) = delete;
  block_exchange& operator=(const block_exchange&) = delete;
  ~block_exchange();

  /// Takes a free block. Up to 1 MiB is kept here; the rest goes to the heap.
  void give(void* block) noexcept;

  /// Offers the given blocks, unless a longer chain is still on offer.
  void offer() noexcept;

  /// Moves the offered chain to this thread's list, if that list is empty.
  /// Threads: any.
  void refill() noexcept;

private:
  struct chain : free_block {
    std::size_t length;
  };

  std::atomic<chain*> offered_{nullptr};
  std::size_t offered_length_ = 0;  // when it was offered
  chain* given_ = nullptr;
  const std::size_t size_;
};

// implementation

/// Returns the list for blocks of `size` bytes. The lists have blocks of 8, 24, 40 bytes and so
/// on, because glibc's chunks are multiples of 16 bytes and glibc uses 8 bytes of each.
[[nodiscard]] constexpr std::size_t list_of(std::size_t size) noexcept { return (size + 7) / 16; }
[[nodiscard]] constexpr std::ptrdiff_t bytes_of(std::size_t list) noexcept {
  return static_cast<std::ptrdiff_t>(list) * 16 + 8;
}

/// The free lists of one thread. A thread without lists of its own has `no_pool`, which keeps
/// nothing.
struct pool {
  std::array<free_block*, list_of(2048) + 1> first{};
  std::ptrdiff_t allowance = 0;           // the number of further bytes that may be kept
  std::atomic<std::ptrdiff_t> frames{0};  // coroutines made, minus coroutines destroyed
  std::atomic<bool> taken{true};          // whether a thread uses this pool
  pool* next = nullptr;                   // the next of all pools
};

extern constinit pool no_pool;
// A pointer, because a library that is loaded later has little space for thread_local variables.
extern constinit thread_local pool* pool_here [[gnu::tls_model("initial-exec")]];

// The slow paths, for requests that the lists cannot serve.
[[nodiscard]] void* allocate_anew(std::size_t size);
void deallocate_surplus(void* block, std::size_t size) noexcept;

inline void* allocate(std::size_t size) {
  if (const std::size_t which = list_of(size); which < pool_here->first.size()) {
    free_block*& first = pool_here->first[which];
    if (first != nullptr) {
      pool_here->allowance += bytes_of(which);
      return std::exchange(first, first->next);
    }
  }
  return allocate_anew(size);
}

inline void deallocate(void* block, std::size_t size) noexcept {
  const std::size_t which = list_of(size);
  if (which < pool_here->first.size() && pool_here->allowance >= bytes_of(which)) {
    pool_here->allowance -= bytes_of(which);
    free_block*& first = pool_here->first[which];
    first = new (block) free_block{first};
    return;
  }
  deallocate_surplus(block, size);
}

/// Adds `change` to the number of the process's coroutines.
inline void count_frame(std::ptrdiff_t change) noexcept {
  if (pool_here == &no_pool) {
    no_pool.frames.fetch_add(change, std::memory_order_relaxed);
  } else {  // no other thread writes
    auto& frames = pool_here->frames;
    frames.store(frames.load(std::memory_order_relaxed) + change, std::memory_order_relaxed);
  }
}
[[nodiscard]] std::size_t frames_of_process() noexcept;

}  // namespace eddy::detail
