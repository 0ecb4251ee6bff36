// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/block_pool.h>

#if defined(__SANITIZE_ADDRESS__)
#define EDDY_RECYCLES false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EDDY_RECYCLES false
#endif
#endif
#ifndef EDDY_RECYCLES
#define EDDY_RECYCLES true
#endif

namespace eddy::detail {

constinit pool no_pool;
constinit thread_local pool* pool_here [[gnu::tls_model("initial-exec")]] = &no_pool;

namespace {

void free_all(free_block* first) noexcept {
  while (first != nullptr) {
    ::operator delete(static_cast<void*>(std::exchange(first, first->next)));
  }
}

constexpr std::ptrdiff_t kept_bytes = EDDY_RECYCLES ? std::ptrdiff_t{4} << 20 : 0;

// All pools except `no_pool`, also those of threads that have ended. The list only grows, so it
// needs no lock that a fork could leave locked.
constinit std::atomic<pool*> pools{nullptr};

constinit thread_local bool ended = false;
constinit thread_local failing_allocations* failing = nullptr;

void keep_nothing(pool& p) noexcept {
  p.allowance = 0;
  for (free_block*& first : p.first) free_all(std::exchange(first, nullptr));
}

struct at_thread_end {
  ~at_thread_end() {
    pool* const old = std::exchange(pool_here, &no_pool);
    ended = true;
    if (old == &no_pool) return;
    keep_nothing(*old);
    old->taken.store(false, std::memory_order_release);
  }
};

/// Returns a pool that an ended thread has left, or a new one; null if there is no memory.
pool* take_pool() noexcept {
  for (pool* p = pools.load(std::memory_order_acquire); p != nullptr; p = p->next) {
    if (!p->taken.exchange(true, std::memory_order_acquire)) return p;
  }
  auto* const fresh = new (std::nothrow) pool;
  if (fresh == nullptr) return nullptr;
  fresh->next = pools.load(std::memory_order_relaxed);
  while (!pools.compare_exchange_weak(fresh->next, fresh, std::memory_order_release,
                                      std::memory_order_relaxed)) {
  }
  return fresh;
}

void begin() noexcept {
  if (ended) return;
  pool* const mine = take_pool();
  if (mine == nullptr) return;
  // The C library ends the program if it has no memory for the thread_local destructor below.
  void* const block = ::operator new(sizeof(pool), std::nothrow);
  if (block == nullptr) return mine->taken.store(false, std::memory_order_release);
  ::operator delete(block);
  thread_local const at_thread_end cleaner;
  static_cast<void>(&cleaner);
  mine->allowance = failing == nullptr ? kept_bytes : 0;
  pool_here = mine;
}

}  // namespace

std::size_t frames_of_process() noexcept {
  std::ptrdiff_t sum = no_pool.frames.load(std::memory_order_relaxed);
  for (const pool* p = pools.load(std::memory_order_acquire); p != nullptr; p = p->next) {
    sum += p->frames.load(std::memory_order_relaxed);
  }
  return static_cast<std::size_t>(sum);
}

void* allocate_anew(std::size_t size) {
  if (failing_allocations::next_fails()) throw std::bad_alloc();
  const failing_allocations::pardon counted_already;
  if (pool_here == &no_pool) begin();
  const std::size_t which = list_of(size);
  return ::operator new(EDDY_RECYCLES && which < pool_here->first.size()
                            ? static_cast<std::size_t>(bytes_of(which))
                            : size);
}

void* allocate_aligned(std::size_t size, std::align_val_t alignment) {
  if (failing_allocations::next_fails()) throw std::bad_alloc();
  const failing_allocations::pardon counted_already;
  return ::operator new(size, alignment);
}

void deallocate_surplus(void* block, std::size_t size) noexcept {
  if (pool_here == &no_pool) {
    begin();
    if (pool_here != &no_pool) return deallocate(block, size);
  }
  ::operator delete(block);
}

failing_allocations::failing_allocations(std::size_t spared, times how_often) noexcept
    : spared_(spared), how_often_(how_often) {
  if (pool_here != &no_pool) keep_nothing(*pool_here);
  failing = this;
}

failing_allocations::~failing_allocations() {
  failing = nullptr;
  if (pool_here != &no_pool) pool_here->allowance = kept_bytes;
}

bool failing_allocations::next_fails() noexcept {
  failing_allocations* const f = failing;
  if (f == nullptr) return false;
  const std::size_t before = f->count_++;
  return before == f->spared_ || (before > f->spared_ && f->how_often_ == times::for_good);
}

failing_allocations::pardon::pardon() noexcept : spared_(std::exchange(failing, nullptr)) {}

failing_allocations::pardon::~pardon() { failing = spared_; }

block_exchange::~block_exchange() {
  free_all(given_);
  free_all(offered_.load(std::memory_order_acquire));
}

void block_exchange::give(void* block) noexcept {
  const std::size_t length = given_ == nullptr ? 1 : given_->length + 1;
  if (static_cast<std::ptrdiff_t>(length) * bytes_of(list_of(size_)) > kept_bytes / 4)
    return ::operator delete(block);
  given_ = new (block) chain{{given_}, length};
}

void block_exchange::offer() noexcept {
  if (given_ == nullptr) return;
  if (offered_.load(std::memory_order_relaxed) != nullptr && given_->length <= offered_length_) {
    return;
  }
  offered_length_ = given_->length;
  given_ = offered_.exchange(given_, std::memory_order_acq_rel);
}

void block_exchange::refill() noexcept {
  const std::size_t which = list_of(size_);
  if (pool_here->first[which] != nullptr) return;
  if (offered_.load(std::memory_order_relaxed) == nullptr) return;
  if (pool_here == &no_pool) begin();
  if (pool_here == &no_pool || failing != nullptr) return;
  chain* const taken = offered_.exchange(nullptr, std::memory_order_acquire);
  if (taken == nullptr) return;
  pool_here->allowance -= static_cast<std::ptrdiff_t>(taken->length) * bytes_of(which);
  pool_here->first[which] = taken;
}

}  // namespace eddy::detail
