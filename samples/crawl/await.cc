// SPDX-License-Identifier: BSD-2-Clause
//
// Downloads all pages of a site, some of them concurrently, retries failed downloads, and
// limits the time of the whole crawl. Nested calls of eddy do all of this: timeout,
// for_each_concurrent and retry. The program serves the site itself. callback.cc does the
// same with handlers.
//
//   ./samples/run crawl await

#include <array>
#include <cstddef>
#include <cstdio>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <eddy/future/block_on.h>
#include <eddy/future/flow/concurrent.h>
#include <eddy/future/flow/retry.h>
#include <eddy/future/task.h>
#include <eddy/future/timeout.h>
#include <eddy/net/connect.h>
#include <eddy/net/tcp_stream.h>

#include "site.h"

namespace {

/// Counts a running request.
class request {
public:
  explicit request(progress& p) : progress_(p) { p.asking(); }
  request(const request&) = delete;
  request& operator=(const request&) = delete;
  ~request() { progress_.asked(); }

private:
  progress& progress_;
};

page checked(arrival what) {
  if (what) return std::move(*what);
  throw std::system_error(std::make_error_code(std::errc::connection_aborted), what.error());
}

eddy::task<page> fetch(progress& all, url from) {
  const request counted(all);
  eddy::tcp_stream stream = co_await eddy::connect(from.host, from.port);
  const std::string words = request_for(from);
  co_await stream.write(words);

  answer incoming;
  std::array<char, 16384> buffer;
  for (;;) {
    const std::size_t size = co_await stream.read(buffer);
    if (size == 0) co_return checked(incoming.end());
    std::optional<arrival> complete = incoming.add({buffer.data(), size});
    if (complete) co_return checked(std::move(*complete));
  }
}

eddy::task<> download(progress& all, url from) {
  const eddy::retry_policy policy{.attempts = progress::attempts,
                                  .first_delay = progress::first_delay};
  auto attempt = [&] { return fetch(all, from); };
  try {
    const page p = co_await eddy::retry(policy, attempt);
    all.arrived(from, p);
  } catch (const std::system_error& e) {
    all.given_up(from, e.what());
  }
}

eddy::task<> crawl(const site& where) {
  progress all(where.urls());
  auto one = [&](const url& from) { return download(all, from); };
  auto each = eddy::for_each_concurrent(where.urls(), progress::at_once, one);
  try {
    co_await eddy::timeout(progress::limit, std::move(each));
  } catch (const eddy::timed_out& e) {
    std::fprintf(stderr, "%s\n", e.what());
  }
  all.print_end();
}

}  // namespace

int main() try {
  eddy::event_loop loop;
  const site served(loop);
  eddy::block_on(loop, crawl(served));
} catch (const std::exception& e) {
  std::fprintf(stderr, "crawl: %s\n", e.what());
  return 1;
}
