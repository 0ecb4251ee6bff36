// SPDX-License-Identifier: BSD-2-Clause
// Unix sockets on a simulated network.
#include <chrono>
#include <cstddef>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <doctest/doctest.h>
#include <unistd.h>

#include <eddy/future/as_result.h>
#include <eddy/future/sleep.h>
#include <eddy/future/spawn.h>
#include <eddy/future/task.h>
#include <eddy/net/unix_address.h>
#include <eddy/net/unix_connect.h>
#include <eddy/net/unix_listener.h>
#include <eddy/net/unix_stream.h>
#include <eddy/testing/simulated_network.h>

#include "support/async_test.h"
#include "support/stream_tasks.h"
#include "support/temporary_directory.h"
#include "support/thrown.h"
#include "support/tidy.h"

using namespace std::chrono_literals;
using namespace std::string_view_literals;
using eddy::as_result;
using eddy::connect;
using eddy::simulated_network;
using eddy::task;
using eddy::unix_address;
using eddy::unix_listener;
using eddy::unix_stream;

ASYNC_TEST("Unix streams talk at a path and at an abstract name") {
  const simulated_network network(loop);
  const std::size_t before = open_descriptors();
  for (const unix_address& name :
       {unix_address("/run/simulated/server"), unix_address::abstract("server")}) {
    unix_listener listener(loop, name);
    CHECK(listener.local_address() == name);
    unix_stream client = co_await connect(name);
    unix_stream server = co_await listener.accept();
    CHECK(client.peer_address() == name);
    CHECK(server.peer_address().is_unnamed());
    CHECK(server.peer_credentials().pid == ::getpid());
    co_await client.write("words"sv);
    client.shutdown();
    const std::string all = co_await read_all(server);
    CHECK(all == "words");
    CHECK(open_descriptors() == before);
  }
}

ASYNC_TEST("a connect to a Unix socket that is not there fails") {
  const simulated_network network(loop);
  const auto missing = co_await as_result(connect(unix_address("/run/nothing")));
  CHECK(missing.error() == std::errc::no_such_file_or_directory);
  const auto refused = co_await as_result(connect(unix_address::abstract("nothing")));
  CHECK(refused.error() == std::errc::connection_refused);
  {
    unix_listener stale(loop, unix_address("/run/stale"));
    stale.keep_file();
  }
  const auto left = co_await as_result(connect(unix_address("/run/stale")));
  CHECK(left.error() == std::errc::connection_refused);
  CHECK(code_from([&] { const unix_listener l(loop, unix_address("/run/stale")); }) ==
        std::errc::address_in_use);
  unix_listener listener(loop, unix_address("/run/stale"),
                         {.replace_stale = true, .permissions = 0600});
  const unix_stream stream = co_await connect(unix_address("/run/stale"));
  CHECK(code_from([&] {
          const unix_listener l(loop, unix_address("/run/stale"), {.replace_stale = true});
        }) == std::errc::address_in_use);
}

ASYNC_TEST("a simulated Unix path is a name and no file") {
  const simulated_network network(loop);
  const temporary_directory d;
  const unix_address missing("/no such directory/server");
  const unix_listener without_directory(loop, missing, {.permissions = 0});
  const unix_stream one = co_await connect(missing);
  const unix_address path(d / "server");
  std::ofstream(d / "server") << "a file";
  const unix_listener listener(loop, path);
  CHECK(::unlink((d / "server").c_str()) == 0);
  const unix_stream two = co_await connect(path);
  CHECK(::access((d / "server").c_str(), F_OK) != 0);
}

ASYNC_TEST("a closed Unix listener removes its file, and an unnamed one gets a name") {
  const simulated_network network(loop);
  {
    const unix_listener listener(loop, unix_address("/run/server"));
  }
  const auto missing = co_await as_result(connect(unix_address("/run/server")));
  CHECK(missing.error() == std::errc::no_such_file_or_directory);
  const unix_listener chosen(loop, unix_address());
  CHECK(chosen.local_address().is_abstract());
  const unix_stream stream = co_await connect(chosen.local_address());
}

ASYNC_TEST("a connect to a Unix listener waits while its queue is full") {
  const simulated_network network(loop);
  unix_listener listener(loop, unix_address("/run/server"), {.backlog = 1});
  const unix_stream one = co_await connect(unix_address("/run/server"));
  const unix_stream two = co_await connect(unix_address("/run/server"));
  auto third = eddy::spawn(loop, [](unix_address to) -> task<> {
    const unix_stream stream = co_await connect(to);
  }(unix_address("/run/server")));
  co_await eddy::sleep(1s);
  CHECK_FALSE(third.ready());
  const unix_stream accepted = co_await listener.accept();
  co_await std::move(third);
}

ASYNC_TEST("a pair of Unix sockets is connected, and a closed end breaks the pipe") {
  const simulated_network network(loop, {.short_reads = 0.5, .buffer_size = 1000});
  auto [near, far] = eddy::socket_pair(loop);
  const std::string words(10'000, 'u');
  auto writing = eddy::spawn(loop, write_all(near, words));
  std::string all;
  while (all.size() < words.size()) all += co_await read_some(far);
  CHECK(all == words);
  co_await std::move(writing);
  far.close();
  const auto sent = co_await as_result(near.write("x"sv));
  CHECK(sent.error() == std::errc::broken_pipe);
  const std::string end = co_await read_all(near);
  CHECK(end.empty());
}

ASYNC_TEST("a Unix socket that closes with unread bytes resets its peer") {
  const simulated_network network(loop);
  auto [near, far] = eddy::socket_pair(loop);
  co_await near.write("unread"sv);
  far.close();
  const std::error_code error = co_await read_error(near);
  CHECK(error == std::errc::connection_reset);
}
