// SPDX-License-Identifier: BSD-2-Clause
//
// Downloads two pages at once with coroutines: the code of each download reads from top to
// bottom, and `join` runs both concurrently on one thread. The files beside this one do the
// same with callbacks, futures and threads.
//
//   ./samples/run two_sites await http://127.0.0.1:8000/a http://127.0.0.1:8000/b

#include <array>
#include <exception>
#include <expected>
#include <optional>
#include <string>

#include <eddy/future/block_on.h>
#include <eddy/future/join.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/net/connect.h>
#include <eddy/net/tcp_stream.h>

#include "page.h"

namespace {

eddy::task<arrival> fetch(url from) {
  eddy::tcp_stream stream = co_await eddy::connect(from.host, from.port);
  const std::string request = request_for(from);
  co_await stream.write(request);

  answer incoming;
  std::array<char, 16384> buffer;
  for (;;) {
    const std::size_t size = co_await stream.read(buffer);
    if (size == 0) co_return incoming.end();
    std::optional<arrival> complete = incoming.add({buffer.data(), size});
    if (complete) co_return std::move(*complete);
  }
}

eddy::task<> download(downloads& all, int which) {
  all.started(which);
  arrival what;
  try {
    what = co_await eddy::timeout(all.limit(), fetch(all.from(which)));
  } catch (const std::exception& e) {
    what = std::unexpected(e.what());
  }
  all.ended(which, std::move(what));
}

eddy::task<> download_both(downloads& all) {
  co_await eddy::join(download(all, 0), download(all, 1));
}

}  // namespace

int main(int argc, char** argv) {
  downloads all(argc, argv);
  eddy::block_on(download_both(all));
  return all.report();
}
