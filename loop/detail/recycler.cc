// SPDX-License-Identifier: BSD-2-Clause
#include <eddy/loop/detail/recycler.h>

#include <array>
#include <cstdint>
#include <new>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#define EDDY_RECYCLES 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EDDY_RECYCLES 0
#endif
#endif
#ifndef EDDY_RECYCLES
#define EDDY_RECYCLES 1
#endif

namespace eddy::detail {

#if EDDY_RECYCLES
namespace {

constexpr std::size_t step = 32;
constexpr std::size_t largest = 2048;
constexpr std::size_t kept_bytes = std::size_t{1} << 20;  // of each size

struct block {
  block* next;
};

struct free_list {
  block* first;
  std::size_t room;  // how many more may be kept
};

enum class life : std::uint8_t { unused, used, over };

// Trivial, so that it outlives every other thread_local object's destructor.
constinit thread_local std::array<free_list, largest / step> lists{};
constinit thread_local life state = life::unused;

struct at_thread_end {
  ~at_thread_end() {
    state = life::over;
    for (auto& list : lists) {
      while (list.first != nullptr) {
        ::operator delete(static_cast<void*>(std::exchange(list.first, list.first->next)));
      }
    }
  }
};

void begin() noexcept {
  thread_local const at_thread_end cleaner;
  static_cast<void>(&cleaner);
  state = life::used;
  for (std::size_t i = 0; i < lists.size(); ++i) lists[i].room = kept_bytes / ((i + 1) * step);
}

}  // namespace

void* allocate(std::size_t size) {
  const std::size_t index = (size - 1) / step;
  if (index >= lists.size()) return ::operator new(size);
  auto& list = lists[index];
  if (list.first == nullptr) return ::operator new((index + 1) * step);
  ++list.room;
  return std::exchange(list.first, list.first->next);
}

void deallocate(void* memory, std::size_t size) noexcept {
  const std::size_t index = (size - 1) / step;
  if (index < lists.size()) {
    if (state == life::unused) begin();
    auto& list = lists[index];
    if (state == life::used && list.room != 0) {
      --list.room;
      list.first = new (memory) block{list.first};
      return;
    }
  }
  ::operator delete(memory);
}
#else
void* allocate(std::size_t size) { return ::operator new(size); }
void deallocate(void* memory, std::size_t) noexcept { ::operator delete(memory); }
#endif

}  // namespace eddy::detail
