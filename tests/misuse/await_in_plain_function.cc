// SPDX-License-Identifier: BSD-2-Clause
// g++ says: unable to find the promise type for this coroutine
// clang says: this function cannot be a coroutine
#include <eddy/future/task.h>

eddy::task<int> number();

#ifdef MISTAKE
int await_in_plain_function() { return co_await number(); }
#else
eddy::task<int> await_in_plain_function() { co_return co_await number(); }
#endif
