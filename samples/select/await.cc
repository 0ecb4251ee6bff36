// SPDX-License-Identifier: BSD-2-Clause
//
// Asks several mirrors for a song: takes the first answer, limits the time, and skips a
// mirror that is down. Destroying the questions that lost cancels them. callback.cc does the
// same with handlers.
//
//   ./samples/run select await

#include <chrono>
#include <cstdio>
#include <string>
#include <system_error>
#include <variant>

#include <eddy/future/block_on.h>
#include <eddy/future/flow/race_ok.h>
#include <eddy/future/select.h>
#include <eddy/future/sleep.h>
#include <eddy/future/task.h>

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

/// A question to a mirror. Its destructor prints a line if it was not answered.
class question {
public:
  explicit question(const char* to) : to_(to) { std::printf("  asking %s\n", to_); }
  question(const question&) = delete;
  question& operator=(const question&) = delete;
  ~question() {
    if (to_ != nullptr) std::printf("  cancelling %s\n", to_);
  }
  void answered() { to_ = nullptr; }

private:
  const char* to_;
};

eddy::task<std::string> ask(mirror m) {
  question q(m.name);
  co_await eddy::sleep(m.delay);
  q.answered();
  if (!m.up) {
    std::printf("  %s is down\n", m.name);
    throw std::system_error(std::make_error_code(std::errc::connection_refused), m.name);
  }
  co_return std::string("a song from ") + m.name;
}

void sing(const std::string& song) { std::printf("  singing %s\n", song.c_str()); }

eddy::task<> first_answer() {
  auto first = co_await eddy::select(ask(north), ask(south));
  std::printf("  the winner is number %zu\n", first.index());
  std::visit(sing, first);
}

eddy::task<> answer_in_time() {
  auto first = co_await eddy::select(ask(north), eddy::sleep(5ms));
  if (const auto* song = std::get_if<0>(&first)) {
    sing(*song);
  } else {
    std::puts("  it takes too long");
  }
}

eddy::task<> first_success() {
  const std::string song = co_await eddy::race_ok(ask(west), ask(south), ask(north));
  sing(song);
}

eddy::task<> no_success() {
  try {
    co_await eddy::race_ok(ask(west), ask(west));
  } catch (const eddy::all_failed& e) {
    std::printf("  no song, and %zu errors\n", e.errors().size());
  }
}

}  // namespace

int main() {
  std::puts("the first answer:");
  eddy::block_on(first_answer());

  std::puts("an answer in time:");
  eddy::block_on(answer_in_time());

  std::puts("the first success:");
  eddy::block_on(first_success());

  std::puts("no success:");
  eddy::block_on(no_success());
}
