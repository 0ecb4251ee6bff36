// SPDX-License-Identifier: BSD-2-Clause
//
// A library to preload. Counts the calls of malloc, calloc and the like in the first eight
// bytes of the file $COUNT_MALLOC, where another process can read the count.

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
}

namespace {

std::atomic<std::uint64_t> before;  // calls before the file is mapped
std::atomic<std::uint64_t>* calls = &before;

void count() noexcept { calls->fetch_add(1, std::memory_order_relaxed); }

[[gnu::constructor]] void open_file() {
  const char* const path = std::getenv("COUNT_MALLOC");
  if (path == nullptr) return;
  const int file = ::open(path, O_RDWR | O_CLOEXEC);
  if (file < 0) return;
  void* const shared = ::mmap(nullptr, sizeof *calls, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  ::close(file);
  if (shared != MAP_FAILED) calls = static_cast<std::atomic<std::uint64_t>*>(shared);
}

}  // namespace

extern "C" {

void* malloc(std::size_t size) {
  count();
  return __libc_malloc(size);
}
void* calloc(std::size_t number, std::size_t size) {
  count();
  return __libc_calloc(number, size);
}
void* realloc(void* old, std::size_t size) {
  count();
  return __libc_realloc(old, size);
}
void* memalign(std::size_t alignment, std::size_t size) {
  count();
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }
int posix_memalign(void** into, std::size_t alignment, std::size_t size) {
  *into = memalign(alignment, size);
  return *into == nullptr ? ENOMEM : 0;
}
}
