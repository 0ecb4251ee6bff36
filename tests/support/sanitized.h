// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// 1 under AddressSanitizer or ThreadSanitizer, whose malloc ends the program when memory is
// short; otherwise 0.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif
