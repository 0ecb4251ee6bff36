// SPDX-License-Identifier: BSD-2-Clause
//
// Prints the addresses of names, and the servers of services. All names are asked for at once, and
// each has ten seconds. await.cc does the same with coroutines.
//
//   ./samples/run resolve callback example.org localhost _imaps._tcp.gmail.com

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <deque>
#include <exception>

#include <eddy/loop/event_loop.h>
#include <eddy/loop/timer.h>
#include <eddy/net/pending_operation.h>
#include <eddy/net/resolver.h>

#include "names.h"

using namespace std::chrono_literals;

namespace {

/// Asks for the names, at most 16 at once.
class finder {
public:
  finder(eddy::event_loop& loop, names& all) : by_(loop, all.options()), all_(all) {
    for (std::size_t i = 0; i < std::min<std::size_t>(16, all.size()); ++i) {
      start_next(questions_.emplace_back(loop));
    }
  }

private:
  struct question {
    explicit question(eddy::event_loop& loop) : limit(loop) {}

    eddy::pending_operation pending;
    eddy::timer limit;
  };

  void start_next(question& q) {
    if (next_ == all_.size()) return;
    const std::size_t number = next_++;
    q.limit.start(10s, [this, &q, number] {
      q.pending.stop();
      all_.late(number);
      start_next(q);
    });
    const auto note = [this, &q, number](const auto& found) {
      q.limit.stop();
      all_.found(number, found);
      start_next(q);
    };
    if (all_.is_service(number)) {
      q.pending = by_.resolve_srv(all_.name(number), note);
    } else {
      q.pending = by_.resolve(all_.name(number), 0, note);
    }
  }

  eddy::resolver by_;
  names& all_;
  std::deque<question> questions_;
  std::size_t next_ = 0;
};

}  // namespace

int main(int argc, char** argv) try {
  names all(argc, argv);
  eddy::event_loop loop;
  const finder finding(loop, all);
  loop.run();
  return all.exit_code();
} catch (const std::exception& e) {
  std::fprintf(stderr, "resolve: %s\n", e.what());
  return 1;
}
