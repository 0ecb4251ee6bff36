// SPDX-License-Identifier: BSD-2-Clause
//
// Prints the addresses of names, and the servers of services. All names are asked for at once, and
// each has ten seconds. callback.cc does the same with handlers.
//
//   ./samples/run resolve await example.org localhost _imaps._tcp.gmail.com

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <ranges>
#include <system_error>
#include <utility>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/flow/concurrent.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/loop/event_loop.h>
#include <eddy/net/resolver.h>

#include "names.h"

using namespace std::chrono_literals;

namespace {

/// Awaits an operation of the resolver with a limit.
template <class Operation>
eddy::task<> note(names& all, std::size_t number, Operation asking) {
  auto limited = eddy::timeout(10s, std::move(asking));
  const auto found = co_await eddy::as_result(std::move(limited));
  if (!found && found.error() == std::errc::timed_out) {
    all.late(number);
  } else {
    all.found(number, found);
  }
}

eddy::task<> find_all(eddy::event_loop& loop, names& all) {
  eddy::resolver by(loop, all.options());
  auto one = [&](std::size_t number) {
    return all.is_service(number) ? note(all, number, by.resolve_srv(all.name(number)))
                                  : note(all, number, by.resolve(all.name(number), 0));
  };
  auto each = eddy::for_each_concurrent(std::views::iota(std::size_t{0}, all.size()), 16, one);
  co_await std::move(each);
}

}  // namespace

int main(int argc, char** argv) try {
  names all(argc, argv);
  eddy::event_loop loop;
  eddy::block_on(loop, find_all(loop, all));
  return all.exit_code();
} catch (const std::exception& e) {
  std::fprintf(stderr, "resolve: %s\n", e.what());
  return 1;
}
