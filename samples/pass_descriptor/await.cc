// SPDX-License-Identifier: BSD-2-Clause
//
// An opener opens files for a client, and passes the descriptors over a Unix socket. A daemon
// without privileges gets files from a small program with privileges in this way. Here both are
// tasks of one program. callback.cc does the same with handlers.
//
//   ./samples/run pass_descriptor await

#include <array>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>

#include <unistd.h>

#include <eddy/future/block_on.h>
#include <eddy/future/join.h>
#include <eddy/future/task.h>
#include <eddy/loop/event_loop.h>
#include <eddy/net/unix_connect.h>
#include <eddy/net/unix_listener.h>
#include <eddy/net/unix_stream.h>

#include "files.h"

using namespace std::string_view_literals;

namespace {

/// Serves one client, until it closes its connection.
eddy::task<> open_files(eddy::unix_listener& listener) {
  eddy::unix_stream client = co_await listener.accept();
  const bool own = client.peer_credentials().uid == ::geteuid();
  std::printf("opener: a client of %s user\n", own ? "the same" : "another");
  std::array<char, 100> buffer;
  for (;;) {
    const std::size_t size = co_await client.read(buffer);
    if (size == 0) break;
    const std::string name(buffer.data(), size);
    std::printf("opener: asked for %s\n", name.c_str());
    const eddy::unique_descriptor file = open_file(name);
    if (file) {
      const std::array files{file.number()};
      co_await client.send_descriptors("here it is"sv, files);
    } else {
      co_await client.write("there is no such file"sv);
    }
  }
  std::puts("opener: the client has gone");
}

eddy::task<> ask_for(eddy::unix_stream& opener, std::string_view name) {
  co_await opener.write(name);
  std::array<char, 100> buffer;
  std::array<eddy::unique_descriptor, 1> files;
  const eddy::received_bytes got = co_await opener.receive_descriptors(buffer, files);
  const std::string answer(buffer.data(), got.size);
  std::printf("client: %s, with %zu descriptors\n", answer.c_str(), got.descriptors);
  if (got.descriptors == 1) std::printf("client: reads %s\n", contents(files[0]).c_str());
}

eddy::task<> ask(eddy::unix_address at) {
  eddy::unix_stream opener = co_await eddy::connect(at);
  co_await ask_for(opener, "greeting");
  co_await ask_for(opener, "secret");
}

}  // namespace

int main() {
  eddy::event_loop loop;
  // The system chooses an abstract name. A real opener would listen at a path, with permissions.
  eddy::unix_listener listener(loop, eddy::unix_address());
  eddy::block_on(loop, eddy::join(open_files(listener), ask(listener.local_address())));
}
