// SPDX-License-Identifier: BSD-2-Clause
//
// Learns a song in several steps within a time limit. The first limit is long enough. The
// second is too short, and the program names the step that was running. Each step has to
// record its name and to be cancellable. await.cc does the same with coroutines.
//
//   ./samples/run timeout callback

#include <chrono>
#include <cstdio>
#include <string>
#include <utility>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/handler.h>
#include <eddy/loop/timer.h>

using namespace std::chrono_literals;

namespace {

class song {
public:
  song(eddy::event_loop& loop, std::chrono::milliseconds time) : step_(loop), time_(time) {}

  void learn(eddy::handler<void(std::string)> on_learned) {
    on_learned_ = std::move(on_learned);
    look_for_words();
  }

  /// Cancels the running step and returns its name.
  const char* cancel() {
    step_.stop();
    std::printf("  cancelled: %s\n", doing_);
    return where_;
  }

private:
  void look_for_words() {
    begin("look_for_words", "looking for the words");
    step_.start(10ms, [this] {
      words_ = "Row, row, row your boat";
      learn_words();
    });
  }
  void learn_words() {
    begin("learn_words", "learning them");
    step_.start(time_, [this] { on_learned_(std::move(words_)); });
  }
  void begin(const char* where, const char* doing) {
    where_ = where;
    doing_ = doing;
    std::printf("  %s\n", doing);
  }

  eddy::timer step_;
  std::chrono::milliseconds time_;
  const char* where_ = "";
  const char* doing_ = "";
  std::string words_;
  eddy::handler<void(std::string)> on_learned_;
};

void sing_within(eddy::event_loop& loop, std::chrono::milliseconds limit,
                 std::chrono::milliseconds time) {
  song s(loop, time);
  eddy::timer end(loop);
  end.start(limit, [&] {
    const char* const where = s.cancel();
    std::printf("  too late: the time ran out in %s\n", where);
  });
  s.learn([&](const std::string& words) {
    end.stop();
    std::printf("  singing %s\n", words.c_str());
  });
  loop.run();
}

}  // namespace

int main() {
  eddy::event_loop loop;

  std::puts("with enough time:");
  sing_within(loop, 5s, 10ms);

  std::puts("with too little time:");
  sing_within(loop, 50ms, 5s);
}
