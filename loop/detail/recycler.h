// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <new>
#include <utility>

namespace eddy::detail {

/// Memory for coroutine frames and small nodes, from free lists of this
/// thread, so that a steady state calls `malloc` no more.
///
/// Blocks of up to 2 KiB are kept by size, in all up to 4 MiB a thread; the rest
/// goes back to the heap. Under AddressSanitizer nothing is kept, so that a use
/// after free is seen. A block may be freed on another thread than the one that
/// allocated it.
///
/// Errors: `std::bad_alloc`.
/// Threads: any; each has lists of its own, given back when it ends.
[[nodiscard]] void* allocate(std::size_t size);
void deallocate(void* block, std::size_t size) noexcept;
[[nodiscard]] void* allocate_aligned(std::size_t size, std::align_val_t alignment);

/// A base class whose objects come from the recycler.
struct recycled {
  static void* operator new(std::size_t size) { return allocate(size); }
  static void* operator new[](std::size_t size) { return allocate(size); }
  static void operator delete(void* block, std::size_t size) noexcept { deallocate(block, size); }
  static void operator delete[](void* block, std::size_t size) noexcept { deallocate(block, size); }

  // What is aligned to more than a block comes from the heap.
  static void* operator new(std::size_t size, std::align_val_t alignment) {
    return allocate_aligned(size, alignment);
  }
  static void operator delete(void* block, std::size_t, std::align_val_t alignment) noexcept {
    ::operator delete(block, alignment);
  }
};

/// Fails allocations of this thread, for tests: while it lives nothing is
/// recycled, and each allocation counts.
///
/// There is one at a time on a thread.
class failing_allocations {
public:
  enum class times : bool { once, for_good };

  /// Fails the one that comes after `spared` others; `for_good`: and all that
  /// follow.
  explicit failing_allocations(std::size_t spared, times how_often) noexcept;
  failing_allocations(const failing_allocations&) = delete;
  failing_allocations& operator=(const failing_allocations&) = delete;
  ~failing_allocations();

  /// How many there were, and whether one has failed.
  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  [[nodiscard]] bool failed() const noexcept { return count_ > spared_; }

  /// Counts an allocation; true if it has to fail.
  [[nodiscard]] static bool next_fails() noexcept;

  /// Spares what is allocated in its scope, which does not count.
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

/// What is in a block that is free.
struct free_block {
  free_block* next;
};

/// Takes blocks of one size from the thread that frees them to those that
/// allocate them, which is where the recycler's own lists do not reach.
///
/// The owner offers what it has freed as one chain, which is taken whole: so
/// there is no block that is taken, comes back and is mistaken for the one that
/// was there.
///
/// Lifetime: frees what was not taken.
class way_back {
public:
  explicit way_back(std::size_t size) noexcept : size_(size) {}
  way_back(const way_back&) = delete;
  way_back& operator=(const way_back&) = delete;
  ~way_back();

  /// Takes a block that is free. Up to 1 MiB waits here; the rest goes to the
  /// heap.
  void give(void* block) noexcept;

  /// Offers what was given, unless an earlier offer stands that is longer.
  void offer() noexcept;

  /// Puts what is offered into this thread's list, if that is empty.
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

/// Of which list a block is: those of 8, 24, 40 bytes and so on, because glibc
/// has chunks of 16 bytes' steps and takes 8 of each for itself.
[[nodiscard]] constexpr std::size_t list_of(std::size_t size) noexcept { return (size + 7) / 16; }
[[nodiscard]] constexpr std::ptrdiff_t bytes_of(std::size_t list) noexcept {
  return static_cast<std::ptrdiff_t>(list) * 16 + 8;
}

/// What a thread keeps. One that has none yet, or no more, has `no_pool`, which
/// keeps nothing.
struct pool {
  std::array<free_block*, list_of(2048) + 1> first{};
  std::ptrdiff_t room = 0;                // how many more bytes may be kept
  std::atomic<std::ptrdiff_t> frames{0};  // coroutines that were made, less those destroyed
  std::atomic<bool> taken{true};          // by a thread
  pool* next = nullptr;                   // of all there are
};

extern constinit pool no_pool;
// Behind a pointer, because a library that is loaded later has little room for
// thread_locals.
extern constinit thread_local pool* pool_here [[gnu::tls_model("initial-exec")]];

// What the lists have no answer to.
[[nodiscard]] void* allocate_anew(std::size_t size);
void deallocate_surplus(void* block, std::size_t size) noexcept;

inline void* allocate(std::size_t size) {
  if (const std::size_t which = list_of(size); which < pool_here->first.size()) {
    free_block*& first = pool_here->first[which];
    if (first != nullptr) {
      pool_here->room += bytes_of(which);
      return std::exchange(first, first->next);
    }
  }
  return allocate_anew(size);
}

inline void deallocate(void* block, std::size_t size) noexcept {
  const std::size_t which = list_of(size);
  if (which < pool_here->first.size() && pool_here->room >= bytes_of(which)) {
    pool_here->room -= bytes_of(which);
    free_block*& first = pool_here->first[which];
    first = new (block) free_block{first};
    return;
  }
  deallocate_surplus(block, size);
}

/// Counts the process's coroutines.
inline void count_frame(std::ptrdiff_t change) noexcept {
  if (pool_here == &no_pool) {
    no_pool.frames.fetch_add(change, std::memory_order_relaxed);
  } else {  // nobody else writes
    auto& frames = pool_here->frames;
    frames.store(frames.load(std::memory_order_relaxed) + change, std::memory_order_relaxed);
  }
}
[[nodiscard]] std::size_t frames_of_process() noexcept;

}  // namespace eddy::detail
