// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/recycler.h>

#include <cstdint>

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

// Trivial, so that they outlive every other thread_local object's destructor.
constinit thread_local decltype(free_lists) free_lists{};

namespace {

void free_all(free_block* first) noexcept {
  while (first != nullptr) {
    ::operator delete(static_cast<void*>(std::exchange(first, first->next)));
  }
}

constexpr std::size_t kept_bytes = EDDY_RECYCLES ? std::size_t{1} << 20 : 0;  // of each size

constexpr std::size_t bytes_of(std::size_t list) noexcept { return list * 16 + 8; }

enum class life : std::uint8_t { unused, used, over };
constinit thread_local life state = life::unused;

constinit thread_local failing_allocations* failing = nullptr;

void keep_nothing() noexcept {
  state = life::over;
  for (auto& list : free_lists) {
    list.room = 0;
    free_all(std::exchange(list.first, nullptr));
  }
}

struct at_thread_end {
  ~at_thread_end() { keep_nothing(); }
};

void begin() noexcept {
  thread_local const at_thread_end cleaner;
  static_cast<void>(&cleaner);
  state = life::used;
  for (std::size_t i = 0; i < free_lists.size(); ++i) free_lists[i].room = kept_bytes / bytes_of(i);
}

}  // namespace

void* allocate_anew(std::size_t size) {
  if (failing_allocations::next_fails()) throw std::bad_alloc();
  const failing_allocations::pardon counted_already;
  const std::size_t which = list_of(size);
  return ::operator new(EDDY_RECYCLES && which < free_lists.size() ? bytes_of(which) : size);
}

void deallocate_surplus(void* block, std::size_t size) noexcept {
  if (state == life::unused) {
    begin();
    deallocate(block, size);
  } else {
    ::operator delete(block);
  }
}

failing_allocations::failing_allocations(std::size_t spared, times how_often) noexcept
    : spared_(spared), how_often_(how_often) {
  keep_nothing();
  failing = this;
}

failing_allocations::~failing_allocations() {
  failing = nullptr;
  state = life::unused;
}

bool failing_allocations::next_fails() noexcept {
  failing_allocations* const f = failing;
  if (f == nullptr) return false;
  const std::size_t before = f->count_++;
  return before == f->spared_ || (before > f->spared_ && f->how_often_ == times::for_good);
}

failing_allocations::pardon::pardon() noexcept : spared_(std::exchange(failing, nullptr)) {}

failing_allocations::pardon::~pardon() { failing = spared_; }

way_back::~way_back() {
  free_all(given_);
  free_all(offered_.load(std::memory_order_acquire));
}

void way_back::give(void* block) noexcept {
  const std::size_t length = given_ == nullptr ? 1 : given_->length + 1;
  if (length > kept_bytes / bytes_of(list_of(size_))) return ::operator delete(block);
  given_ = new (block) chain{{given_}, length};
}

void way_back::offer() noexcept {
  if (given_ == nullptr) return;
  if (offered_.load(std::memory_order_relaxed) != nullptr && given_->length <= offered_length_) {
    return;
  }
  offered_length_ = given_->length;
  given_ = offered_.exchange(given_, std::memory_order_acq_rel);
}

void way_back::refill() noexcept {
  free_list& list = free_lists[list_of(size_)];
  if (list.first != nullptr || offered_.load(std::memory_order_relaxed) == nullptr) return;
  if (state == life::unused) begin();
  if (state == life::over) return;
  chain* const taken = offered_.exchange(nullptr, std::memory_order_acquire);
  if (taken == nullptr) return;
  list.room -= taken->length;
  list.first = taken;
}

}  // namespace eddy::detail
