// SPDX-License-Identifier: BSD-2-Clause
//
// Learns a song, sings it and dances: first it blocks on each step, then it dances while it
// learns the song. Singing must wait for the learning and dancing need not, as the printed
// order shows. callback.cc does the same with handlers.
//
//   ./samples/run song_and_dance await

#include <chrono>
#include <cstdio>
#include <string>

#include <eddy/future/block_on.h>
#include <eddy/future/join.h>
#include <eddy/future/sleep.h>
#include <eddy/future/task.h>

using namespace std::chrono_literals;

namespace {

eddy::task<std::string> learn_song() {
  std::puts("  learning a song ...");
  co_await eddy::sleep(20ms);
  std::puts("  ... learned it");
  co_return "Row, row, row your boat";
}

eddy::task<> sing_song(std::string song) {
  std::printf("  singing: %s\n", song.c_str());
  co_return;
}

eddy::task<> dance() {
  std::puts("  dancing");
  co_return;
}

eddy::task<> learn_and_sing() {
  const std::string song = co_await learn_song();
  co_await sing_song(song);
}

eddy::task<> sing_and_dance() { co_await eddy::join(learn_and_sing(), dance()); }

}  // namespace

int main() {
  std::puts("one after the other:");
  const std::string song = eddy::block_on(learn_song());
  eddy::block_on(sing_song(song));
  eddy::block_on(dance());

  std::puts("side by side:");
  eddy::block_on(sing_and_dance());
}
