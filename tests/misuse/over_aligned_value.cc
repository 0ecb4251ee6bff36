// SPDX-License-Identifier: BSD-2-Clause
// says: a coroutine's frame can't hold a value
#include <eddy/future/task.h>

#ifdef MISTAKE
struct alignas(64) line {
#else
struct line {
#endif
  char bytes[64];
};

eddy::task<line> over_aligned_value() { co_return line(); }
