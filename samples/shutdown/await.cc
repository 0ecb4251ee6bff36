// SPDX-License-Identifier: BSD-2-Clause
//
// Shuts down a server cleanly. The server sends bytes back after a tenth of a second per
// byte. On SIGTERM or SIGINT it stops accepting, closes idle connections, gives running
// requests two seconds, and cancels the others. A second signal cancels them at once.
// callback.cc does the same with handlers.
//
//   ./samples/run shutdown await --listen 127.0.0.1:7000
//   nc 127.0.0.1 7000

#include <array>
#include <csignal>
#include <exception>
#include <new>
#include <span>
#include <utility>

#include <eddy/future/as_result.h>
#include <eddy/future/block_on.h>
#include <eddy/future/flow/stop_token.h>
#include <eddy/future/scope.h>
#include <eddy/future/select.h>
#include <eddy/future/sleep.h>
#include <eddy/future/task.h>
#include <eddy/loop/event_loop.h>
#include <eddy/loop/signal.h>
#include <eddy/net/tcp_listener.h>
#include <eddy/net/tcp_stream.h>

#include "../daemon/daemon.h"

using namespace std::chrono_literals;

namespace {

struct tally {
  std::size_t under_way = 0;
  std::size_t answered = 0;
};

/// Counts a running request for as long as this object exists.
class request {
public:
  explicit request(tally& t) : tally_(t) { ++tally_.under_way; }
  request(const request&) = delete;
  request& operator=(const request&) = delete;
  ~request() { --tally_.under_way; }

private:
  tally& tally_;
};

/// Serves requests one after the other until the client closes the connection or a stop is
/// requested. An error of one connection, such as a lack of memory, closes no other
/// connection.
eddy::task<> converse(eddy::tcp_stream stream, eddy::stop_token stop, tally& requests) {
  try {
    std::array<char, 64> buffer;
    while (!stop.stop_requested()) {
      auto first =
          co_await eddy::select(eddy::as_result(stream.read(buffer)), eddy::stop_token(stop));
      if (first.index() == 1) co_return;
      const eddy::result<std::size_t> size = std::get<0>(first);
      if (!size || *size == 0) co_return;
      const request under_way(requests);
      co_await eddy::sleep(*size * 100ms);
      const auto sent = co_await eddy::as_result(stream.write(std::span(buffer).first(*size)));
      if (!sent) co_return;
      ++requests.answered;
    }
  } catch (const std::exception& e) {
    print_error("shutdown: a connection failed: %s", e.what());
  }
}

eddy::task<> accept_all(eddy::tcp_listener& listener, eddy::scope& connections,
                        eddy::stop_token stop, tally& requests) {
  for (;;) {
    try {
      eddy::tcp_stream stream = co_await listener.accept();
      connections.spawn(converse(std::move(stream), stop, requests));
      continue;
    } catch (const std::exception& e) {
      print_error("shutdown: cannot accept a connection: %s", e.what());
    }
    try {
      co_await eddy::sleep(accept_pause);
    } catch (const std::bad_alloc& e) {
      print_error("shutdown: cannot pause before the next accept: %s", e.what());
    }
  }
}

/// Turns the first SIGTERM or SIGINT into a request to end, and the second into a request to
/// end at once. While this object exists, neither signal kills the program.
struct orders {
  explicit orders(eddy::event_loop& loop)
      : end(loop), end_at_once(loop), signals{{{loop, SIGTERM}, {loop, SIGINT}}} {
    for (eddy::signal& s : signals) {
      s.start([this] { (end.stop_requested() ? end_at_once : end).request_stop(); });
    }
  }
  orders(const orders&) = delete;  // the handlers hold its address
  orders& operator=(const orders&) = delete;

  eddy::stop_source end;
  eddy::stop_source end_at_once;
  std::array<eddy::signal, 2> signals;
};

eddy::task<> serve(eddy::address at) {
  eddy::event_loop& loop = *eddy::event_loop::current();
  orders told(loop);
  eddy::tcp_listener listener(loop, at);
  print_ready(listener.local_address());
  tally requests;
  eddy::scope connections;
  connections.on_error(&std::rethrow_exception);
  co_await eddy::select(accept_all(listener, connections, told.end.token(), requests),
                        told.end.token());

  listener.close();
  print_line("stopping, %zu requests under way", requests.under_way);
  co_await eddy::select(connections.join(), eddy::sleep(2s), told.end_at_once.token());

  const std::size_t cancelled = requests.under_way;
  connections.cancel();
  print_line("%zu answered, %zu cancelled", requests.answered, cancelled);
}

}  // namespace

int main(int argc, char** argv) try {
  prepare_process();
  eddy::block_on(serve(listen_address(argc, argv)));
} catch (const std::exception& e) {
  print_error("shutdown: %s", e.what());
  return 1;
}
