// SPDX-License-Identifier: BSD-2-Clause
//
// Learns a song in several steps within a time limit. The first limit is long enough. The
// second is too short, and the error names the step that was running. One limit covers all
// steps, and no step mentions it. callback.cc does the same with handlers.
//
//   ./samples/run timeout await

#include <chrono>
#include <cstdio>
#include <string>

#include <eddy/future/block_on.h>
#include <eddy/future/sleep.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>

using namespace std::chrono_literals;

namespace {

/// A step of learning. Its destructor prints a line if the step was cancelled.
class step {
public:
  explicit step(const char* name) : name_(name) { std::printf("  %s\n", name); }
  step(const step&) = delete;
  step& operator=(const step&) = delete;
  ~step() {
    if (name_ != nullptr) std::printf("  cancelled: %s\n", name_);
  }
  void ended() { name_ = nullptr; }

private:
  const char* name_;
};

eddy::task<std::string> look_for_words() {
  step s("looking for the words");
  co_await eddy::sleep(10ms);
  s.ended();
  co_return "Row, row, row your boat";
}

eddy::task<> learn_words(std::chrono::milliseconds time) {
  step s("learning them");
  co_await eddy::sleep(time);
  s.ended();
}

eddy::task<std::string> learn_song(std::chrono::milliseconds time) {
  std::string words = co_await look_for_words();
  co_await learn_words(time);
  co_return words;
}

/// The function in the last line of `tree`, the innermost of the cancelled awaits.
std::string innermost(const std::string& tree) {
  const std::size_t end = tree.rfind(" at ");
  const std::size_t begin = tree.rfind("::", end);
  return tree.substr(begin + 2, end - begin - 2);
}

eddy::task<> sing_within(std::chrono::milliseconds limit, std::chrono::milliseconds time) {
  try {
    const std::string words = co_await eddy::timeout(limit, learn_song(time));
    std::printf("  singing %s\n", words.c_str());
  } catch (const eddy::timed_out& e) {
    std::printf("  too late: the time ran out in %s\n", innermost(e.waited_for()).c_str());
    std::fprintf(stderr, "%s\n", e.what());  // names all awaits, with their locations
  }
}

}  // namespace

int main() {
  std::puts("with enough time:");
  eddy::block_on(sing_within(5s, 10ms));

  std::puts("with too little time:");
  eddy::block_on(sing_within(50ms, 5s));
}
