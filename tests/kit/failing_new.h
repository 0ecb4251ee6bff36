// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// Replaces the program's `new`, so that `every_point` can also fail the allocations of strings and
// containers. Without this header it fails only eddy's own.
//
// Include it in exactly one source file of a test program. Outside `every_point`, `new` is malloc.
// Clang links ThreadSanitizer's `new` statically, and that cannot be replaced: with
// ThreadSanitizer, EDDY_NEW_CAN_FAIL is 0 and this header changes nothing.

#include <cstddef>
#include <cstdlib>
#include <new>

#include <eddy/loop/detail/block_pool.h>
#include <eddy/loop/detail/language.h>

#if defined(__SANITIZE_THREAD__)
#define EDDY_NEW_CAN_FAIL 0
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define EDDY_NEW_CAN_FAIL 0
#endif
#endif
#ifndef EDDY_NEW_CAN_FAIL
#define EDDY_NEW_CAN_FAIL 1
#endif

#if EDDY_NEW_CAN_FAIL
namespace eddy::detail {

/// Null if there is no memory, or if this allocation must fail.
inline void* try_new(std::size_t size, std::size_t alignment) noexcept {
  if (failing_allocations::next_fails()) return nullptr;
  if (alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__) return std::malloc(size != 0 ? size : 1);
  return std::aligned_alloc(alignment, (size + alignment - 1) & ~(alignment - 1));
}

inline void* must_new(std::size_t size, std::size_t alignment) {
  void* const block = try_new(size, alignment);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

// Not inlined: the compiler would warn that `free` does not match `new`.
[[gnu::noinline]] inline void release_block(void* block) noexcept { std::free(block); }

}  // namespace eddy::detail

void* operator new(std::size_t size) { return eddy::detail::must_new(size, 0); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return eddy::detail::try_new(size, 0);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return eddy::detail::must_new(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return eddy::detail::try_new(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* block) noexcept { eddy::detail::release_block(block); }
void operator delete(void* block, std::size_t) noexcept { eddy::detail::release_block(block); }
void operator delete(void* block, const std::nothrow_t&) noexcept {
  eddy::detail::release_block(block);
}
void operator delete(void* block, std::align_val_t) noexcept { eddy::detail::release_block(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept {
  eddy::detail::release_block(block);
}
void operator delete(void* block, std::align_val_t, const std::nothrow_t&) noexcept {
  eddy::detail::release_block(block);
}

// Sanitizers replace the array forms separately.
void* operator new[](std::size_t size) { return eddy::detail::must_new(size, 0); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return eddy::detail::try_new(size, 0);
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return eddy::detail::must_new(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return eddy::detail::try_new(size, static_cast<std::size_t>(alignment));
}
void operator delete[](void* block) noexcept { eddy::detail::release_block(block); }
void operator delete[](void* block, std::size_t) noexcept { eddy::detail::release_block(block); }
void operator delete[](void* block, const std::nothrow_t&) noexcept {
  eddy::detail::release_block(block);
}
void operator delete[](void* block, std::align_val_t) noexcept {
  eddy::detail::release_block(block);
}
void operator delete[](void* block, std::size_t, std::align_val_t) noexcept {
  eddy::detail::release_block(block);
}
void operator delete[](void* block, std::align_val_t, const std::nothrow_t&) noexcept {
  eddy::detail::release_block(block);
}
#endif
