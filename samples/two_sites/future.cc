// SPDX-License-Identifier: BSD-2-Clause
//
// Downloads two pages at once with futures: `then` passes the value of each step to the
// function of the next step. The files beside this one do the same with coroutines,
// callbacks and threads.
//
//   ./samples/run two_sites future http://127.0.0.1:8000/a http://127.0.0.1:8000/b

#include <eddy/future/future.h>

#include <array>
#include <exception>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <eddy/future/promise.h>
#include <eddy/future/spawn.h>
#include <eddy/future/timeout.h>
#include <eddy/loop/event_loop.h>
#include <eddy/net/connect.h>
#include <eddy/net/tcp_stream.h>

#include "page.h"

namespace {

/// The state that the steps of one download share.
struct transfer {
  eddy::tcp_stream stream;
  std::string request;
  answer incoming;
  std::array<char, 16384> buffer;
};

eddy::future<arrival> read_rest(eddy::event_loop& loop, const std::shared_ptr<transfer>& t) {
  auto read = eddy::spawn(loop, t->stream.read(t->buffer));
  return std::move(read).then([&loop, t](std::size_t size) {
    std::optional<arrival> complete =
        size == 0 ? t->incoming.end() : t->incoming.add({t->buffer.data(), size});
    if (!complete) return read_rest(loop, t);
    eddy::promise<arrival> whole(loop);
    whole.set_value(std::move(*complete));
    return whole.get_future();
  });
}

eddy::future<arrival> fetch(eddy::event_loop& loop, const url& from) {
  auto t = std::make_shared<transfer>();
  t->request = request_for(from);
  auto connected = eddy::spawn(loop, eddy::connect(from.host, from.port));
  auto sent = std::move(connected).then([t](eddy::tcp_stream stream) {
    t->stream = std::move(stream);
    return t->stream.write(t->request);
  });
  return std::move(sent).then([&loop, t] { return read_rest(loop, t); });
}

std::string sentence(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  }
}

eddy::future<> download(eddy::event_loop& loop, downloads& all, int which) {
  all.started(which);
  auto limited = eddy::spawn(loop, eddy::timeout(all.limit(), fetch(loop, all.from(which))));
  return std::move(limited).then([&all, which](eddy::outcome<arrival> o) {
    all.ended(which, o ? std::move(*o) : std::unexpected(sentence(o.error())));
  });
}

}  // namespace

int main(int argc, char** argv) {
  downloads all(argc, argv);
  eddy::event_loop loop;
  const eddy::future<> first = download(loop, all, 0);
  const eddy::future<> second = download(loop, all, 1);
  loop.run();
  return all.report();
}
