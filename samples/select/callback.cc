// SPDX-License-Identifier: BSD-2-Clause
//
// Asks several mirrors for a song: takes the first answer, limits the time, and skips a
// mirror that is down. Each winner's handler has to cancel the other questions. await.cc
// does the same with coroutines.
//
//   ./samples/run select callback

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <expected>
#include <string>
#include <system_error>
#include <utility>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/result.h>
#include <eddy/loop/timer.h>

using namespace std::chrono_literals;

namespace {

struct mirror {
  const char* name;
  std::chrono::milliseconds delay;
  bool up;
};
constexpr mirror north{"north", 60ms, true};
constexpr mirror south{"south", 30ms, true};
constexpr mirror west{"west", 10ms, false};

class question {
public:
  explicit question(eddy::event_loop& loop) : answer_(loop) {}

  void ask(mirror m, eddy::handler<void(eddy::result<std::string>)> on_answer) {
    std::printf("  asking %s\n", m.name);
    to_ = m;
    on_answer_ = std::move(on_answer);
    answer_.start(m.delay, [this] { answer(); });
  }

  void cancel() {
    if (!answer_.active()) return;
    answer_.stop();
    std::printf("  cancelling %s\n", to_.name);
  }

private:
  void answer() {
    if (to_.up) return on_answer_(std::string("a song from ") + to_.name);
    std::printf("  %s is down\n", to_.name);
    on_answer_(std::unexpected(std::make_error_code(std::errc::connection_refused)));
  }

  eddy::timer answer_;
  mirror to_{};
  eddy::handler<void(eddy::result<std::string>)> on_answer_;
};

void sing(const std::string& song) { std::printf("  singing %s\n", song.c_str()); }

void first_answer(eddy::event_loop& loop) {
  question first(loop);
  question second(loop);
  const auto won = [](std::size_t index, question& other, const std::string& song) {
    other.cancel();
    std::printf("  the winner is number %zu\n", index);
    sing(song);
  };
  first.ask(north, [&](eddy::result<std::string> song) { won(0, second, *song); });
  second.ask(south, [&](eddy::result<std::string> song) { won(1, first, *song); });
  loop.run();
}

void answer_in_time(eddy::event_loop& loop) {
  question only(loop);
  eddy::timer limit(loop);
  only.ask(north, [&](eddy::result<std::string> song) {
    limit.stop();
    sing(*song);
  });
  limit.start(5ms, [&] {
    only.cancel();
    std::puts("  it takes too long");
  });
  loop.run();
}

void first_success(eddy::event_loop& loop) {
  question first(loop);
  question second(loop);
  question third(loop);
  const auto ended = [&](const eddy::result<std::string>& song) {
    if (!song) return;
    for (question* other : {&first, &second, &third}) other->cancel();
    sing(*song);
  };
  first.ask(west, ended);
  second.ask(south, ended);
  third.ask(north, ended);
  loop.run();
}

void no_success(eddy::event_loop& loop) {
  question first(loop);
  question second(loop);
  int errors = 0;
  const auto ended = [&](const eddy::result<std::string>&) {
    if (++errors == 2) std::printf("  no song, and %d errors\n", errors);
  };
  first.ask(west, ended);
  second.ask(west, ended);
  loop.run();
}

}  // namespace

int main() {
  eddy::event_loop loop;

  std::puts("the first answer:");
  first_answer(loop);

  std::puts("an answer in time:");
  answer_in_time(loop);

  std::puts("the first success:");
  first_success(loop);

  std::puts("no success:");
  no_success(loop);
}
