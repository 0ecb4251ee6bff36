// SPDX-License-Identifier: BSD-2-Clause
//
// Prints "hello, world!" from a handler, and shows that a deferred handler does nothing until
// the loop runs. await.cc does the same with a coroutine.
//
//   ./samples/run hello_world callback

#include <cstdio>

#include <eddy/loop/event_loop.h>

namespace {

void hello_world() { std::puts("hello, world!"); }

}  // namespace

int main() {
  eddy::event_loop loop;
  loop.defer(hello_world);
  std::puts("nothing is printed yet");
  loop.run();
  std::puts("that was all");
}
