// SPDX-License-Identifier: BSD-2-Clause
//
// Prints "hello, world!" from a coroutine, and shows that a task does nothing until a loop
// runs it. callback.cc does the same with a handler.
//
//   ./samples/run hello_world await

#include <cstdio>

#include <eddy/future/block_on.h>
#include <eddy/future/task.h>

namespace {

eddy::task<> hello_world() {
  std::puts("hello, world!");
  co_return;
}

}  // namespace

int main() {
  eddy::task<> hello = hello_world();
  std::puts("nothing is printed yet");
  eddy::block_on(std::move(hello));
  std::puts("that was all");
}
