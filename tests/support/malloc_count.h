// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// Counts a thread's calls of malloc, calloc and realloc. One file of a program includes this
// header. Under a sanitizer, which has its own malloc, the count stays 0.

#include <cstddef>

#include "support/sanitized.h"

#if !SANITIZED
inline constinit thread_local std::size_t mallocs = 0;

extern "C" {
// glibc's internal names of malloc, calloc and realloc.
void* __libc_malloc(std::size_t size);                     // NOLINT(bugprone-reserved-identifier)
void* __libc_calloc(std::size_t count, std::size_t size);  // NOLINT(bugprone-reserved-identifier)
void* __libc_realloc(void* block, std::size_t size);       // NOLINT(bugprone-reserved-identifier)

void* malloc(std::size_t size) {
  ++mallocs;
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
  ++mallocs;
  return __libc_calloc(count, size);
}
void* realloc(void* block, std::size_t size) {
  ++mallocs;
  return __libc_realloc(block, size);
}
}
#else
inline constexpr std::size_t mallocs = 0;
#endif
