// SPDX-License-Identifier: BSD-2-Clause
// says: a value of this type can't be awaited
#include <eddy/future/task.h>

eddy::task<int> number();
eddy::task<> await_number() {
#ifdef MISTAKE
  co_await 5;
#else
  co_await number();
#endif
}
