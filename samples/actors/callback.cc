// SPDX-License-Identifier: BSD-2-Clause
//
// Two actors play ball. An actor is an object with a mailbox: actors share no data, and an
// actor acts only when it receives a message. await.cc does the same with tasks.
//
//   ./samples/run actors callback

#include <cstdio>
#include <deque>
#include <utility>

#include <eddy/loop/event_loop.h>

namespace {

struct ball {
  int hits = 0;
  bool game_over = false;
};

/// A queue of messages: other actors send, and the loop gives each message to the owner.
class mailbox {
public:
  mailbox(eddy::event_loop& loop, eddy::handler<void(ball)> on_message)
      : loop_(loop), on_message_(std::move(on_message)) {}

  void send(ball message) {
    messages_.push_back(message);
    loop_.defer([this] {
      const ball next = messages_.front();
      messages_.pop_front();
      on_message_(next);
    });
  }

private:
  eddy::event_loop& loop_;
  eddy::handler<void(ball)> on_message_;
  std::deque<ball> messages_;
};

constexpr int longest_game = 6;

class player {
public:
  player(eddy::event_loop& loop, const char* name)
      : name_(name), mine_(loop, [this](ball received) { play(received); }) {}

  void plays_with(player& other) { other_ = &other.mine_; }
  void serve() { mine_.send(ball()); }

private:
  void play(ball received) {
    if (!received.game_over) {
      received.hits += 1;
      std::printf("%s hits it: %d\n", name_, received.hits);
      received.game_over = received.hits == longest_game;
      other_->send(received);
      if (!received.game_over) return;
    }
    std::printf("%s goes home\n", name_);
  }

  const char* name_;
  mailbox mine_;
  mailbox* other_ = nullptr;
};

}  // namespace

int main() {
  eddy::event_loop loop;
  player left(loop, "left");
  player right(loop, "right");
  left.plays_with(right);
  right.plays_with(left);
  left.serve();
  loop.run();
}
