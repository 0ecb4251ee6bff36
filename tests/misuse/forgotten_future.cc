// SPDX-License-Identifier: BSD-2-Clause
// says: destroying a future cancels its work
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>

eddy::task<> quiet();
void forgotten_future(eddy::event_loop& loop) {
#ifdef MISTAKE
  eddy::spawn(loop, quiet());
#else
  eddy::spawn(loop, quiet()).detach();
#endif
}
