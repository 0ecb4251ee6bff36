// SPDX-License-Identifier: BSD-2-Clause
//
// Learns a song, sings it and dances: first it runs the loop for each step, then once for all
// steps, and dances while it learns the song. await.cc does the same with coroutines.
//
//   ./samples/run song_and_dance callback

#include <chrono>
#include <cstdio>
#include <string>
#include <utility>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer.h>

using namespace std::chrono_literals;

namespace {

void learn_song(eddy::timer& lesson, eddy::handler<void(std::string)> on_learned) {
  std::puts("  learning a song ...");
  lesson.start(20ms, [on_learned = std::move(on_learned)]() mutable {
    std::puts("  ... learned it");
    on_learned("Row, row, row your boat");
  });
}

void sing_song(const std::string& song) { std::printf("  singing: %s\n", song.c_str()); }

void dance() { std::puts("  dancing"); }

void learn_and_sing(eddy::timer& lesson) { learn_song(lesson, sing_song); }

void sing_and_dance(eddy::event_loop& loop, eddy::timer& lesson) {
  learn_and_sing(lesson);
  loop.defer(dance);
}

}  // namespace

int main() {
  eddy::event_loop loop;
  eddy::timer lesson(loop);

  std::puts("one after the other:");
  std::string song;
  learn_song(lesson, [&song](std::string learned) { song = std::move(learned); });
  loop.run();
  loop.defer([&song] { sing_song(song); });
  loop.run();
  loop.defer(dance);
  loop.run();

  std::puts("side by side:");
  sing_and_dance(loop, lesson);
  loop.run();
}
