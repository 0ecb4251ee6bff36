// SPDX-License-Identifier: BSD-2-Clause
//
// Two actors play ball. An actor is a task with a mailbox: actors share no data, and an
// actor acts only when it receives a message. callback.cc does the same with handlers.
//
//   ./samples/run actors await

#include <cstdio>
#include <deque>
#include <optional>
#include <utility>

#include <eddy/future/block_on.h>
#include <eddy/future/join.h>
#include <eddy/future/promise.h>
#include <eddy/future/task.h>

namespace {

struct ball {
  int hits = 0;
  bool game_over = false;
};

/// A queue of messages: other actors send, and its owner receives.
class mailbox {
public:
  void send(ball message) {
    messages_.push_back(message);
    if (auto waiting = std::exchange(waiting_, std::nullopt)) waiting->set_value();
  }

  eddy::task<ball> receive() {
    while (messages_.empty()) {
      eddy::future<> arrival = waiting_.emplace().get_future();
      co_await std::move(arrival);
    }
    const ball message = messages_.front();
    messages_.pop_front();
    co_return message;
  }

private:
  std::deque<ball> messages_;
  std::optional<eddy::promise<>> waiting_;
};

constexpr int longest_game = 6;

eddy::task<> player(const char* name, mailbox& mine, mailbox& other) {
  for (;;) {
    ball received = co_await mine.receive();
    if (received.game_over) break;
    received.hits += 1;
    std::printf("%s hits it: %d\n", name, received.hits);
    received.game_over = received.hits == longest_game;
    other.send(received);
    if (received.game_over) break;
  }
  std::printf("%s goes home\n", name);
}

eddy::task<> game() {
  mailbox left;
  mailbox right;
  left.send(ball());
  co_await eddy::join(player("left", left, right), player("right", right, left));
}

}  // namespace

int main() { eddy::block_on(game()); }
